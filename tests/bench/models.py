"""What is compared: one row for each model. Standard library only.

config, overrides: dltrain's side, a file under configs/ and what is set beside it. torch, keras: options of the peers'
scripts, the fastest of each list is taken; keras None: it takes no part. steps: of a turn, of dltrain and PyTorch
(--ranks takes twice as many). limit, ranks_limit: at most this share of the faster peer's step time; at least this
share of the throughput of two single ranks for two that train together. gflop: of a step, forward and both backward
products.
"""
import collections

Model = collections.namedtuple('Model', 'title config overrides torch keras steps gflop limit ranks_limit')

FIRST = 'mnist_cnn'  # measured when nothing is named; its row's keys stand at the top of results.json, too
PLAIN, LAST = [], ['--channels-last']
COMPILED, BOTH = ['--compile'], ['--channels-last', '--compile']
JIT = ['--jit']

MODELS = {
    'mnist_cnn': Model('MNIST CNN, Adam, batch 128', 'mnist_cnn.yaml', [],
                       [PLAIN, LAST, COMPILED, BOTH], [PLAIN, JIT], 60, 2.10, 0.60, 0.95),
    'word_lstm': Model('LSTM 128, the word after 20, Adam, batch 64', 'word_lstm.yaml', [],
                       [PLAIN, COMPILED], [PLAIN, JIT], 60, 1.05, 0.65, 0.85),
    'word_lm': Model('LSTM 128, the next word at each of 20, Adam, batch 64', 'word_lm.yaml', [],
                     [PLAIN, COMPILED], [PLAIN, JIT], 40, 1.99, 0.52, 0.85),
    'resnet20': Model('ResNet-20, 32 x 32, SGD, batch 128', 'models/resnet20.yaml', [],
                      [PLAIN, LAST], None, 10, 31.0, 0.60, 0.95),
    'resnet18_cifar': Model('ResNet-18, 32 x 32, SGD, batch 32', 'models/resnet18_cifar.yaml', [],
                            [PLAIN, LAST], None, 6, 106.5, 0.66, 0.95),
    # PyTorch's side does not clip.
    'ptb_medium': Model('two LSTMs of 650, 10,000 words, SGD, batch 20, 35 words', 'ptb_medium.yaml',
                        ['train.clip_norm=0'], [PLAIN], None, 6, 55.7, 0.62, 0.85),
}
