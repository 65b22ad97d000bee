#!/usr/bin/env python3
"""Writes sequences.bin: networks of LSTMs computed by PyTorch, for tests/unit/program_golden.c.

    python3 tests/golden/make_sequences.py            (needs torch and numpy; the file is kept in the repository)

PyTorch computes in float64; parameters and inputs are float32 values. Records as in make_golden.py: for each network
NAME/x, NAME/y (labels, -1: none), NAME/lengths where samples differ, NAME/loss (the sum over all rows),
NAME/w/LAYER/TENSOR and NAME/d/LAYER/TENSOR (gradients of the sum over all labels divided by the number of rows). Where
state is carried x and y have one more dimension in front: windows after each other, loss and gradients are those of
the last one.
"""
import os

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence

random = np.random.default_rng(11)
records = []


def put(name, values):
    values = values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    records.append((name, np.ascontiguousarray(values, dtype="<f4")))


def numbers(*shape):
    return torch.tensor(random.uniform(-1, 1, shape).astype(np.float32).astype(np.float64))


def fill(module):
    """float32 values for all parameters; one bias of an LSTM is zero, as this project has one."""
    with torch.no_grad():
        for name, p in module.named_parameters():
            p.copy_(torch.zeros_like(p) if "bias_hh" in name else numbers(*p.shape))
    return module.double()


def put_lstm(name, layer, lstm, number=0):
    for suffix, ours in (("", ""), ("_reverse", "_reverse")):
        if not hasattr(lstm, f"weight_ih_l{number}{suffix}"):
            continue
        for tensor, theirs in (("weight_ih", "weight_ih"), ("weight_hh", "weight_hh"), ("bias", "bias_ih")):
            p = getattr(lstm, f"{theirs}_l{number}{suffix}")
            put(f"{name}/w/{layer}/{tensor}{ours}", p)
            put(f"{name}/d/{layer}/{tensor}{ours}", p.grad)


def put_plain(name, layer, module):
    for tensor, p in module.named_parameters():
        put(f"{name}/w/{layer}/{tensor}", p)
        put(f"{name}/d/{layer}/{tensor}", p.grad)


def lose(name, logits, labels):
    """Sum of the cross entropy over all rows; the gradient is that of the sum over their number."""
    rows = labels.reshape(-1)
    loss = F.cross_entropy(logits.reshape(len(rows), -1), rows, ignore_index=-1, reduction="sum")
    (loss / len(rows)).backward()
    put(f"{name}/y", labels)
    put(f"{name}/loss", [loss.item()])


def labels_of(classes, *shape):
    labels = torch.tensor(random.integers(0, classes, shape))
    if len(shape) > 1:
        labels[0, -1] = labels[-1, 0] = -1
    return labels


def stacked():
    """Two layers, an output at every position."""
    lstm, dense = fill(torch.nn.LSTM(3, 5, 2, batch_first=True)), fill(torch.nn.Linear(5, 5))
    x = numbers(4, 6, 3)
    lose("stacked", dense(lstm(x)[0]), labels_of(5, 4, 6))
    put("stacked/x", x)
    put_lstm("stacked", "lstm", lstm, 0)
    put_lstm("stacked", "lstm_1", lstm, 1)
    put_plain("stacked", "dense", dense)


def bidirectional():
    """Two bidirectional layers over samples of different lengths, the last outputs of both directions."""
    lstm, dense = fill(torch.nn.LSTM(2, 4, 2, batch_first=True, bidirectional=True)), fill(torch.nn.Linear(8, 5))
    x, lengths = numbers(5, 7, 2), torch.tensor([7, 3, 1, 5, 7])
    for n, length in enumerate(lengths):
        x[n, length:] = 0
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    h = lstm(packed)[1][0]
    lose("bidirectional", dense(torch.cat([h[2], h[3]], dim=1)), labels_of(5, 5))
    put("bidirectional/x", x)
    put("bidirectional/lengths", lengths)
    put_lstm("bidirectional", "lstm", lstm, 0)
    put_lstm("bidirectional", "lstm_1", lstm, 1)
    put_plain("bidirectional", "dense", dense)


def backwards():
    """go_backwards over samples of different lengths: each is reversed within its length."""
    lstm, dense = fill(torch.nn.LSTM(3, 6, batch_first=True)), fill(torch.nn.Linear(6, 5))
    x, lengths = numbers(4, 5, 3), torch.tensor([2, 5, 4, 1])
    logits = torch.cat([dense(lstm(x[n, :length].flip(0)[None])[0][:, -1]) for n, length in enumerate(lengths)])
    for n, length in enumerate(lengths):
        x[n, length:] = 0
    lose("backwards", logits, labels_of(5, 4))
    put("backwards/x", x)
    put("backwards/lengths", lengths)
    put_lstm("backwards", "lstm", lstm)
    put_plain("backwards", "dense", dense)


def carried():
    """Tokens, three windows of each row after each other; gradients end at a window's beginning."""
    embedding, lstm = fill(torch.nn.Embedding(5, 4)), fill(torch.nn.LSTM(4, 6, batch_first=True))
    dense = fill(torch.nn.Linear(6, 5))
    tokens, state, labels = torch.tensor(random.integers(0, 5, (3, 4, 3))), None, labels_of(5, 3, 4, 3)
    for window in range(2):
        state = tuple(s.detach() for s in lstm(embedding(tokens[window]), state)[1])
    lose("carried", dense(lstm(embedding(tokens[2]), state)[0]), labels[2])
    records[-2] = ("carried/y", np.ascontiguousarray(labels.numpy(), dtype="<f4"))
    put("carried/x", tokens)
    put_plain("carried", "embedding", embedding)
    put_lstm("carried", "lstm", lstm)
    put_plain("carried", "dense", dense)


def main():
    for part in (stacked, bidirectional, backwards, carried):
        part()
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sequences.bin")
    with open(path, "wb") as file:
        for name, values in records:
            file.write(f"{name} {' '.join(str(d) for d in values.shape)}\n".encode())
            file.write(values.tobytes() + b"\n")
    print(f"{path}: {len(records)} records, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
