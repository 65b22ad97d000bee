#!/usr/bin/env python3
# TEST tier=quick timeout=120 slots=1 needs=python
"""`dltrain data import text`: tokens and vocabulary equal a straightforward computation, for characters and words,
capped or not, shares and files, in one shard or several; what is no UTF-8 is named with its byte, and nothing is left.
"""
import collections
import glob
import gzip
import os
import re

import dltest
import h5py
from dltest import fail

SPACE = re.compile('[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+')


def tokens_of(text, kind):
    text = text.lstrip('\ufeff').replace('\r\n', '\n')
    return list(text) if kind == 'chars' else [w for w in SPACE.split(text.replace('\n', ' <eos> ')) if w]


def expected(train, rest, limit):
    """(vocabulary, unk_id) by definition: counted in train, most frequent first, ties by bytes."""
    count = collections.Counter(train)
    kept = sorted(count, key=lambda w: (-count[w], w.encode()))
    if len(kept) > limit or any(w not in count for w in rest) or '<unk>' in kept:
        kept = [w for w in kept if w != '<unk>']
        kept = kept[:limit - 1] + ['<unk>']
    known = set(kept)
    count = collections.Counter(w if w in known else '<unk>' for w in train)
    vocabulary = sorted(kept, key=lambda w: (-count[w], w.encode()))
    return vocabulary, vocabulary.index('<unk>') if '<unk>' in known else -1


def found(folder, split):
    """(tokens as words, vocabulary, unk_id, number of files)."""
    words = []
    for name in sorted(glob.glob(f'{folder}/{split}-*.h5')):
        with h5py.File(name) as f:
            vocabulary = [w.decode() for w in f['meta/vocab'][()]]
            unk = int(f['tokens'].attrs['unk_id'])
            if f['tokens'].attrs['vocab_size'] != len(vocabulary):
                fail(f'{name}: vocab_size is not the size of /meta/vocab')
            if f['tokens'].dtype != ('u2' if len(vocabulary) <= 65536 else 'i4'):
                fail(f'{name}: {f["tokens"].dtype} for {len(vocabulary)} words')
            words += [vocabulary[t] for t in f['tokens'][()]]
    return words, vocabulary, unk, len(glob.glob(f'{folder}/{split}-*.h5'))


def check(name, files, kind, share=0.1, limit=0, shards=1, valid=None, test=None):
    """Imports the texts and compares every split."""
    for i, text in enumerate(files):
        open(f'{name}-{i}.txt', 'w', encoding='utf-8', newline='').write(text)
    words = ['data', 'import', 'text'] + [f'{name}-{i}.txt' for i in range(len(files))]
    words += ['--out', name, '--tokens', kind, '--shards', shards] + (['--vocab', limit] if limit else [])
    for flag, text in (('valid-file', valid), ('test-file', test)):
        if text is not None:
            open(f'{name}-{flag}.txt', 'w', encoding='utf-8', newline='').write(text)
            words += [f'--{flag}', f'{name}-{flag}.txt']
    if valid is None and share != 0.1:
        words += ['--valid', share]
    dltest.run(*words)
    all_tokens = [t for text in files for t in tokens_of(text, kind)]
    cut = len(all_tokens) if valid is not None else len(all_tokens) - int(len(all_tokens) * share)
    splits = {'train': all_tokens[:cut], 'valid': all_tokens[cut:] if valid is None else tokens_of(valid, kind),
              'test': tokens_of(test, kind) if test is not None else []}
    vocabulary, unk = expected(splits['train'], splits['valid'] + splits['test'], limit or 1 << 40)
    for split, tokens in splits.items():
        if not tokens:
            if glob.glob(f'{name}/{split}-*'):
                fail(f'{name}: there is a split {split}')
            continue
        known = set(vocabulary)
        wanted = ([t if t in known else '<unk>' for t in tokens], vocabulary, unk, shards)
        for what, a, b in zip(('tokens', 'vocabulary', 'unk_id', 'files'), found(name, split), wanted):
            if a != b:
                fail(f'{name} {split}: {what} {str(a)[:300]} instead of {str(b)[:300]}')


def check_texts():
    verse = 'the cat sat on the mat \n the dog sat on the cat \n' * 20 + 'a zebra <unk> ran \n'
    check('words', [verse], 'words')
    check('chars', [verse], 'chars', share=0.25, shards=3)
    check('capped', [verse], 'words', limit=5, shards=2)
    check('capped-chars', [verse], 'chars', limit=7)
    check('marks', ['\ufeffone\r\ntwo\r three\r\n\r\n',
                    '\ufefffour\u3000five\xa0six\u2003s\u00e9v\u00e9n\n eight'], 'words', 0)
    check('mark-chars', ['\ufeffa\r\nb\r c\U0001f600\u00e9\u20ac\r\n' * 5], 'chars', share=0.5)
    check('three', ['a b c <unk> a\n' * 30], 'words', valid='a b d\nq', test='c c a \n')
    check('tie', ['b a c a b c \u00e9 z \U0001f600 \uffee\n'], 'words', 0)
    check('many', [' '.join(f'w{i}' for i in range(70000))], 'words', 0)


def expect_bad(content, code, *words, options=('--tokens', 'chars')):
    open('bad.txt', 'wb').write(content)
    done = dltest.run('data', 'import', 'text', 'bad.txt', '--out', 'bad', *options, code=code)
    message = [line for line in done.stderr.split('\n') if 'error:' in line]
    if len(message) != 1 or not all(w in message[0] for w in words):
        fail(f'{content[:30]!r}: {words} not in {done.stderr!r}')
    if os.path.exists('bad'):
        fail(f'{content[:30]!r}: left behind {os.listdir("bad")}')


def check_bad():
    bad = {b'abc\xff': ('byte 3', '0xff', 'bad.txt'), b'ab\ncd\xe9 caf': ('byte 5', 'line 2'),
           b'\xed\xa0\x80': ('byte 0',), b'a\xc0\x80': ('byte 1',), b'abcd\xf4\x90\x80\x80': ('byte 4',),
           b'abcd\xe2\x82': ('byte 4',), b'ab\0cd': ('byte 2', 'zero'),
           'ab'.encode('utf-16'): ('UTF-16', 'iconv'), 'ab'.encode('utf-16-be'): ('zero',),
           b'\xfe\xff\0a': ('UTF-16', 'iconv'), b'': ('bad.txt', 'tokens'), b'\xef\xbb\xbf': ('tokens',),
           b'a': ('1 tokens',), gzip.compress(b'a text'): ('compressed', 'gunzip')}
    for content, words in bad.items():
        expect_bad(content, 65, *words)
        if words != ('1 tokens',):
            expect_bad(content, 65, *words, options=('--tokens', 'words'))
    good = b'a b c d e f g h i j k\n' * 3
    for options, words in (((), ('--tokens',)), (('--tokens', 'bytes'), ('chars', 'bytes')),
                           (('--tokens', 'chars', '--vocab', '1'), ('--vocab', '1')),
                           (('--tokens', 'chars', '--valid', '1'), ('--valid', '1')),
                           (('--tokens', 'chars', '--valid', '-.1'), ('--valid',)),
                           (('--tokens', 'chars', '--valid', '.1', '--valid-file', 'bad.txt'), ('--valid-file',)),
                           (('--tokens', 'chars', '--split', 'train'), ('--split',)),
                           (('--tokens', 'chars', '--test-file', 'nowhere'), ('nowhere',)),
                           (('--tokens', 'chars', '--shards', '100'), ('100', 'tokens'))):
        expect_bad(good, 2, *words, options=options)
    os.mkdir('folder')
    done = dltest.run('data', 'import', 'text', 'folder', '--tokens', 'chars', '--out', 'bad', code=2)
    if 'folder is a folder' not in done.stderr:
        fail(f'a folder in place of a file: {done.stderr!r}')
    words = ['data', 'import', 'idx', 'a', 'b', '--out', 'bad', '--split', 'train']
    done = dltest.run(*words, '--tokens', 'chars', code=2)
    if 'import idx has no option --tokens' not in done.stderr:
        fail(f'an option of another importer: {done.stderr!r}')
    dltest.run('data', 'import', 'text', 'bad.txt', '--out', 'twice', '--tokens', 'chars')
    dltest.run('data', 'import', 'text', 'bad.txt', '--out', 'twice', '--tokens', 'words', code=2)


def check_shakespeare():
    name = os.path.join(dltest.SHARED_DATA, 'tiny-shakespeare', 'input.txt')
    if not os.path.exists(name):
        print('skipped: no tiny-shakespeare')
        return
    text = open(name, encoding='utf-8', newline='').read()
    check('shakespeare', [text], 'chars')
    check('shakespeare-words', [text], 'words', limit=5000)
    for a, b in (('shakespeare', 'again'),):
        dltest.run('data', 'import', 'text', f'{a}-0.txt', '--out', b, '--tokens', 'chars')
        for split in ('train', 'valid'):
            files = [open(f'{folder}/{split}-00000-of-00001.h5', 'rb').read() for folder in (a, b)]
            if files[0] != files[1]:
                fail(f'{split}: two imports differ')


check_texts()
check_bad()
check_shakespeare()
print('texts equal a straightforward computation; 12 bad files and 9 wrong calls are named')
