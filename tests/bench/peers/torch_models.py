"""The models of dltrain's configs in PyTorch, as its users write them; softmax is part of the loss."""
import collections

import torch
from torch import nn
from torch.nn import functional

# words: vocabulary of a text model, whose inputs are `shape` words; targets: numbers to predict for a sample.
Model = collections.namedtuple('Model', 'make shape words classes targets batch optimizer')


def mnist_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10))


class WordModel(nn.Module):
    """Embedding, LSTMs with dropout around them, a distribution over words at every position or behind the last one.
    Time is the first dimension: PyTorch's faster one."""

    def __init__(self, words, embedded, units, layers=1, dropout=0.0, every=True):
        super().__init__()
        self.every = every
        self.embedding = nn.Embedding(words, embedded)
        self.lstm = nn.LSTM(embedded, units, layers, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(units, words)

    def forward(self, x):
        y, _ = self.lstm(self.dropout(self.embedding(x)))
        return self.head(self.dropout(y if self.every else y[-1])).flatten(0, -2)


def convolution(inputs, outputs, size, stride):
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


class PadShortcut(nn.Module):
    """Option A of He et al.: every other cell, new channels are zero."""

    def __init__(self, new_channels):
        super().__init__()
        self.each_side = new_channels // 2

    def forward(self, x):
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.each_side, self.each_side))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, projection):
        super().__init__()
        self.first, self.first_norm = convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.second, self.second_norm = convolution(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs)
        if inputs == outputs:
            self.shortcut = nn.Identity()
        elif projection:
            self.shortcut = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        else:
            self.shortcut = PadShortcut(outputs - inputs)

    def forward(self, x):
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(y)) + self.shortcut(x))


def residual(widths, blocks, projection):
    layers = [convolution(3, widths[0], 3, 1), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    inputs = widths[0]
    for stage, width in enumerate(widths):
        for number in range(blocks):
            layers.append(Block(inputs, width, 2 if stage > 0 and number == 0 else 1, projection))
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


class Bottleneck(nn.Module):
    """ResNet-50's block, its stride at the 3x3 convolution (v1.5)."""

    def __init__(self, inputs, inner, stride):
        super().__init__()
        outputs = 4 * inner
        sizes = ((inputs, inner, 1, 1), (inner, inner, 3, stride), (inner, outputs, 1, 1))
        self.convolutions = nn.ModuleList(convolution(*size) for size in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(size[1]) for size in sizes)
        self.shortcut = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = functional.relu(self.norms[0](self.convolutions[0](x)))
        y = functional.relu(self.norms[1](self.convolutions[1](y)))
        return functional.relu(self.norms[2](self.convolutions[2](y)) + self.shortcut(x))


def resnet50():
    layers = [convolution(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, (inner, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for number in range(blocks):
            layers.append(Bottleneck(inputs, inner, 2 if stage > 0 and number == 0 else 1))
            inputs = 4 * inner
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))


PICTURE = (3, 32, 32)
MODELS = {
    'mnist_cnn': Model(mnist_cnn, (1, 28, 28), 0, 10, 1, 128, 'adam'),
    'word_lstm': Model(lambda: WordModel(1000, 128, 128, every=False), (20,), 1000, 1000, 1, 64, 'adam'),
    'word_lm': Model(lambda: WordModel(1000, 128, 128), (20,), 1000, 1000, 20, 64, 'adam'),
    'resnet20': Model(lambda: residual((16, 32, 64), 3, False), PICTURE, 0, 10, 1, 128, 'sgd'),
    'resnet18_cifar': Model(lambda: residual((64, 128, 256, 512), 2, True), PICTURE, 0, 10, 1, 32, 'sgd'),
    'resnet50': Model(resnet50, (3, 224, 224), 0, 1000, 1, 256, 'sgd'),
    'ptb_medium': Model(lambda: WordModel(10000, 650, 650, 2, 0.5), (35,), 10000, 10000, 35, 20, 'sgd'),
    'ptb_large': Model(lambda: WordModel(10000, 1500, 1500, 2, 0.65), (35,), 10000, 10000, 35, 20, 'sgd'),
}


def samples(model, batch, layout):
    """A batch of random inputs, and what is to be predicted."""
    targets = torch.randint(model.classes, (batch * model.targets,))
    if model.words:
        return torch.randint(model.words, (*model.shape, batch)), targets
    return torch.rand(batch, *model.shape).to(memory_format=layout), targets
