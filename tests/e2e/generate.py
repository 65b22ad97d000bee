#!/usr/bin/env python3
# TEST tier=default timeout=240 slots=1 needs=python
"""dltrain generate. At temperature 0 every token is the most probable one by NumPy from weights.h5, for models that
carry their state, read their last window again, or end in one vector; prompts shorter and longer than a window, and
empty. One seed gives one text at any number of ranks and threads, another seed another. What cannot be done is told in
one message, with exit status 2."""
import random

import h5py
import numpy as np

import dltest

WINDOW, TOKENS = 6, 30
EMBEDDING = 'embedding: {input_dim: auto, output_dim: 10}'
DENSE = 'dense: {units: auto, activation: softmax}'
MODELS = {  # data set, layers, steps of training
    'vector': ('words', [EMBEDDING, 'lstm: {units: 24}', DENSE], 250),
    'backwards': ('chars', [EMBEDDING, 'lstm: {units: 24, bidirectional: true}', 'dense: {units: 50}'], 150),
    'carried': ('chars', [EMBEDDING, 'lstm: {units: 24, return_sequences: true, stateful: true}',
                          'dropout: {rate: 0.1}', 'lstm: {units: 16, return_sequences: true, stateful: true}', DENSE],
                250),
    'carried_words': ('words', [EMBEDDING, 'lstm: {units: 24, return_sequences: true, stateful: true}', DENSE], 250),
    'normalized': ('chars', [EMBEDDING, 'lstm: {units: 24, return_sequences: true, stateful: true}',
                             'batch_normalization: {statistics: 4}', DENSE], 150),
    'window': ('words', [EMBEDDING, 'lstm: {units: 24, return_sequences: true}', DENSE], 250),
    'partly': ('chars', [EMBEDDING, 'lstm: {units: 24, return_sequences: true, stateful: true}',
                         'lstm: {units: 16, return_sequences: true}', DENSE], 150),
    'both_ways': ('chars', [EMBEDDING, 'lstm: {units: 12, return_sequences: true, bidirectional: true}', DENSE], 60),
}
CARRIED = ('carried', 'carried_words', 'normalized')
BEFORE = ('window', 'partly')  # the others: the whole window, padded in front
PROMPTS = {'words': ('', 'the fox', 'a dog sees the cat and the old bird sleep\nthe'),
           'chars': ('', 'the', 'a dog sees the cat')}


# --- the models by NumPy ---

def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, w_ih, w_hh, bias):
    """The outputs at all positions; gates i f g o."""
    h = c = np.zeros(w_hh.shape[1])
    outputs = []
    for row in x:
        i, f, g, o = np.split(w_ih @ row + w_hh @ h + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.array(outputs)


def logits(w, layers, tokens):
    """Of the token behind these."""
    x = w['/embedding/weight'][tokens]
    names = sorted({path.split('/')[1] for path in w if path.startswith('/lstm')})
    for name, options in zip(names, [layer for layer in layers if layer.startswith('lstm')]):
        tensors = ('weight_ih', 'weight_hh', 'bias')
        forwards = lstm(x, *(w[f'/{name}/{t}'] for t in tensors))
        parts = [forwards if 'sequences' in options else forwards[-1:]]
        if 'bidirectional' in options:
            behind = lstm(x[::-1], *(w[f'/{name}/{t}_reverse'] for t in tensors))
            parts.append(behind[::-1] if 'sequences' in options else behind[-1:])
        x = np.concatenate(parts, axis=1)
    if '/batch_normalization/gamma' in w:
        gamma, beta, mean, variance = (w[f'/batch_normalization/{t}'] for t in ('gamma', 'beta', 'moving_mean',
                                                                               'moving_variance'))
        x = (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    return w['/dense/weight'] @ x[-1] + w['/dense/bias']


def seen(name, tokens, padding):
    """What the model reads of the text so far."""
    if name in CARRIED:
        return tokens
    if name in BEFORE:
        return tokens[-WINDOW:]
    return ([padding] * WINDOW + tokens)[-WINDOW:]


# --- the texts ---

def write_data():
    """Sentences, so that there is something to predict; the words capped, so that there is <unk>."""
    r = random.Random(5)
    lines = []
    for _ in range(1200):
        actor = lambda: r.choice(['the', 'a']) + ' ' + r.choice(['', 'old ', 'small ']) + r.choice(
            ['fox', 'dog', 'cat', 'bird'])
        verb = r.choice(['sees', 'hears'])
        lines.append(f'{actor()} {verb} {actor()}' if r.random() < 0.6 else f'{actor()} and {actor()} sleep')
        if r.random() < 0.02:
            lines.append('zebra ' + str(r.randrange(5)))
    with open('text', 'w') as f:
        f.write('\n'.join(lines) + '\n')
    dltest.run('data', 'import', 'text', 'text', '--tokens', 'words', '--vocab', '16', '--out', 'data/words')
    dltest.run('data', 'import', 'text', 'text', '--tokens', 'chars', '--out', 'data/chars')


def train():
    for name, (data, layers, steps) in MODELS.items():
        with open(f'{name}.yaml', 'w') as f:
            f.write(f'data: {{path: data/{data}}}\nmodel:\n  input: {{shape: [{WINDOW}], dtype: tokens}}\n  layers:\n'
                    + ''.join(f'    - {layer}\n' for layer in layers)
                    + f'train: {{batch_size: 32, epochs: 50, max_steps: {steps}, '
                      'optimizer: {adam: {learning_rate: 0.02}}}\n')
        dltest.run(f'{name}.yaml', DLTRAIN_THREADS='1')


def generate(name, prompt, *words, n=TOKENS, **more):
    return dltest.run('generate', f'runs/{name}', '--prompt', prompt, '--tokens', n, *words, **more).stdout


def tokens_of(text, data, vocabulary):
    """The tokens of a printed text, which ends with a line feed of its own."""
    parts = list(text[:-1]) if data == 'chars' else text[:-1].replace('\n', ' <eos> ').split()
    return [vocabulary.index(part) for part in parts]


def check_best(name, vocabularies):
    """Temperature 0: all tokens are those that NumPy finds most probable. Returns how many there are different ones."""
    data, layers, _ = MODELS[name]
    w, vocabulary = dltest.weights(f'runs/{name}'), vocabularies[data]
    w = {path: tensor.astype('f8') for path, tensor in w.items()}
    padding = vocabulary.index('<eos>' if data == 'words' else '\n')
    kinds = set()
    for prompt in PROMPTS[data]:
        text = generate(name, prompt, '--temperature', '0', DLTRAIN_THREADS='1')
        known = tokens_of(prompt + '\n', data, vocabulary)
        tokens = tokens_of(text, data, vocabulary)
        if tokens[:len(known)] != known or len(tokens) != len(known) + TOKENS:
            dltest.fail(f'{name}: {TOKENS} tokens behind {prompt!r} are {text!r}')
        if data == 'chars' and not text.startswith(prompt):
            dltest.fail(f'{name}: {text!r} does not begin with {prompt!r}')
        start = [] if known else [padding]  # an empty prompt is the beginning of a line
        for i in range(len(known), len(tokens)):
            found = logits(w, layers, seen(name, start + tokens[:i], padding))[:len(vocabulary)]
            if found[tokens[i]] < found.max() - 1e-5:
                dltest.fail(f'{name}, prompt {prompt!r}: token {i} of {text!r} is {vocabulary[tokens[i]]!r}, by NumPy '
                            f'{vocabulary[int(found.argmax())]!r}')
            kinds.add(tokens[i])
    return len(kinds)


def check_blanks():
    """Words stand between single blanks, none at the ends of lines; <unk> is said, and shown."""
    done = dltest.run('generate', 'runs/vector', '--prompt', 'the  unicorn\n\n sees', '--tokens', '60')
    if not done.stdout.startswith('the <unk>\n\nsees ') or 'unicorn' not in done.stderr or '<unk>' not in done.stderr:
        dltest.fail(f'a word that is not known: {done.stdout!r}, {done.stderr!r}')
    if any(line != line.strip() or '  ' in line for line in done.stdout.split('\n')) or '<eos>' in done.stdout:
        dltest.fail(f'blanks or ends of lines are not right: {done.stdout!r}')


def check_vocabulary(vocabularies):
    """At a high temperature everything is drawn, but no output that stands for no word."""
    text = generate('backwards', '', '--temperature', '100', n=400)
    tokens = tokens_of(text, 'chars', vocabularies['chars'])
    if len(tokens) != 400 or len(set(tokens)) < len(vocabularies['chars']) - 1:
        dltest.fail(f'temperature 100 draws {len(set(tokens))} of {len(vocabularies["chars"])} characters: {text!r}')


def check_seeds():
    for name in ('vector', 'carried'):
        text = generate(name, 'the', '--seed', '1')
        same = [generate(name, 'the'), generate(name, 'the', '--seed=1', DLTRAIN_THREADS='2'),
                generate(name, 'the', '--seed', '1', ranks=2), generate(name, 'the', ranks=3, DLTRAIN_THREADS='2')]
        if any(other != text for other in same):
            dltest.fail(f'{name}: one seed, but several texts: {[text] + same}')
        if generate(name, 'the', '--seed', '2') == text:
            dltest.fail(f'{name}: seeds 1 and 2 give the same text')
        # a longer text begins with the shorter one
        if not generate(name, 'the', n=2 * TOKENS).startswith(text[:-1]):
            dltest.fail(f'{name}: the text depends on how long it is')
        best = generate(name, 'the', '--temperature', '0')
        if generate(name, 'the', '--top-k', '1', '--temperature', '1.5', '--seed', '7') != best:
            dltest.fail(f'{name}: --top-k 1 is not temperature 0')
        if generate(name, 'the', '--temperature', '1e-300') != best:
            dltest.fail(f'{name}: hardly any temperature is not temperature 0')
        if text == best:
            dltest.fail(f'{name}: temperature 0.8 draws nothing')


def says(pattern, *words, ranks=0, code=2):
    done = dltest.run('generate', *words, ranks=ranks, code=None)
    errors = [line for line in done.stderr.split('\n') if 'error:' in line]
    if done.returncode != code or len(errors) != 1 or pattern not in errors[0] or done.stdout:
        dltest.fail(f'generate {words}: exit status {done.returncode}, {done.stdout!r}, {done.stderr!r}; '
                    f'wanted {pattern}')


def check_mistakes():
    good = ('--prompt', 'the', '--tokens', '3')
    says("'é' (U+00E9), 'X' (U+0058)", 'runs/carried', '--prompt', 'the éX', '--tokens', '3')
    says("'é' (U+00E9)", 'runs/carried', '--prompt', 'é', '--tokens', '3', ranks=2)
    says('U+0009', 'runs/backwards', '--prompt', 'a\tb', '--tokens', '3')
    says('not UTF-8', 'runs/carried', '--prompt', 'a\udce9', '--tokens', '3')
    says("--tokens must be a whole number from 1 to 1000000000, but it is '0'", 'runs/carried', '--prompt', 'a',
         '--tokens', '0')
    says("--tokens must be a whole number from 1 to 1000000000, but it is 'many'", 'runs/carried', '--prompt', 'a',
         '--tokens', 'many', ranks=2)
    says('--tokens N', 'runs/carried', '--prompt', 'a')
    says('--prompt TEXT', 'runs/carried', '--tokens', '3')
    for temperature in ('-1', 'hot', 'nan', 'inf', ''):
        says(f"a number above it, but it is '{temperature}'", 'runs/carried', *good, f'--temperature={temperature}')
    for k in ('0', '-3', 'x'):
        says(f"--top-k must be a whole number from 1 to 2147483647, but it is '{k}'", 'runs/vector', *good,
             f'--top-k={k}')
    says("--seed must be a whole number", 'runs/vector', *good, '--seed=-1')
    says('runs/missing is not a run directory', 'runs/missing', *good)
    says('there is no no.h5', 'runs/vector', *good, '--weights', 'no.h5')
    says('RUN', *good)
    dltest.run(dltest.MNIST_CNN, f'data.path={dltest.small_digits()}', 'train.max_steps=1', 'run.dir=runs/images')
    says('runs/images is not the run of a text model', 'runs/images', *good)
    with h5py.File('bad.h5', 'w') as f:
        for path, tensor in dltest.weights('runs/vector').items():
            f[path] = tensor if path != '/dense/bias' else np.full_like(tensor, np.nan)
    says('not numbers', 'runs/vector', '--prompt', '', '--tokens', '1', '--weights', 'bad.h5', ranks=2, code=77)


def main():
    write_data()
    train()
    vocabularies = {}
    for data in ('words', 'chars'):
        with h5py.File(f'data/{data}/train-00000-of-00001.h5', 'r') as f:
            vocabularies[data] = [word.decode() if isinstance(word, bytes) else word for word in f['meta/vocab'][()]]
    kinds = {name: check_best(name, vocabularies) for name in MODELS}
    if max(kinds.values()) < 6 or min(kinds.values()) < 2:
        dltest.fail(f'texts of too few different tokens show little: {kinds}')
    check_blanks()
    check_vocabulary(vocabularies)
    check_seeds()
    check_mistakes()
    print(f'{len(MODELS)} models; different tokens at temperature 0: {kinds}')


main()
