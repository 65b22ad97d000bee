#!/usr/bin/env python3
"""Times Keras (TensorFlow) at the work of a dltrain config, as model.fit does it: two epochs over samples in memory.

    keras_bench.py mnist_cnn|word_lstm|word_lm [--batch N] [--threads N] [--steps N] [--jit]

Prints one JSON line with the keys of torch_bench.py; the times are those of the second epoch's steps.
"""
import argparse
import json
import os
import resource
import statistics
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
STARTED = time.perf_counter()
import keras  # noqa: E402
import numpy  # noqa: E402
import tensorflow  # noqa: E402

IMPORT_SECONDS = time.perf_counter() - STARTED


def mnist_cnn():
    """The layers of configs/mnist_cnn.yaml."""
    k = keras.layers
    return keras.Sequential([
        k.Input((28, 28, 1)),
        k.Conv2D(32, 3, activation='relu'), k.MaxPooling2D(2),
        k.Conv2D(64, 3, activation='relu'), k.MaxPooling2D(2),
        k.Conv2D(64, 3, activation='relu'), k.Flatten(),
        k.Dense(64, activation='relu'), k.Dense(10, activation='softmax')])


def words(every):
    """The layers of configs/word_lm.yaml, or of word_lstm.yaml, which predicts behind the last word alone."""
    k = keras.layers
    return keras.Sequential([
        k.Input((20,), dtype='int32'), k.Embedding(1000, 128), k.LSTM(128, return_sequences=every),
        k.Dense(1000, activation='softmax')])


# name: (model, shape of a sample, number of words or 0, shape of its targets, classes, batch)
MODELS = {
    'mnist_cnn': (mnist_cnn, (28, 28, 1), 0, (), 10, 128),
    'word_lstm': (lambda: words(False), (20,), 1000, (), 1000, 64),
    'word_lm': (lambda: words(True), (20,), 1000, (20,), 1000, 64),
}


class StepTimes(keras.callbacks.Callback):
    """Milliseconds of every step of every epoch."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append([])

    def on_train_batch_begin(self, batch, logs=None):
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.epochs[-1].append(1e3 * (time.perf_counter() - self.start))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('model', choices=sorted(MODELS))
    for name, default in (('batch', 0), ('threads', 1), ('steps', 50)):
        parser.add_argument('--' + name, type=int, default=default)
    parser.add_argument('--jit', action='store_true')
    return parser.parse_args()


def main():
    options = parse()
    tensorflow.config.threading.set_intra_op_parallelism_threads(options.threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(1)
    make, shape, n_words, targets, classes, batch = MODELS[options.model]
    batch = options.batch or batch
    n = batch * options.steps
    x = numpy.random.randint(0, n_words, (n, *shape)) if n_words else numpy.random.rand(n, *shape).astype('float32')
    y = numpy.random.randint(0, classes, (n, *targets))
    model = make()
    model.compile('adam', 'sparse_categorical_crossentropy', jit_compile=options.jit)
    times = StepTimes()
    model.fit(x, y, batch_size=batch, epochs=2, verbose=0, callbacks=[times])
    ms = sorted(times.epochs[1])
    median = statistics.median(ms)
    positions = shape[0] if n_words else 0
    print(json.dumps({
        'peer': f'keras {keras.__version__} (tensorflow {tensorflow.__version__})', 'model': options.model,
        'device': 'cpu', 'ranks': 1, 'parameters': model.count_params(), 'threads': options.threads, 'dtype': 'f32',
        'batch': batch, 'seq': positions, 'optimizer': 'adam', 'compile': options.jit, 'train': True,
        'channels_last': True,
        'ms_step': round(median, 3), 'ms_p10': round(ms[len(ms) // 10], 3), 'ms_p90': round(ms[len(ms) * 9 // 10], 3),
        'per_s': round(1e3 * batch * max(1, positions) / median, 1), 'unit': 'tokens' if positions else 'samples',
        'import_s': round(IMPORT_SECONDS, 2), 'first_step_s': round(times.epochs[0][0] / 1e3, 2),
        'peak_mb': round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}))


main()
