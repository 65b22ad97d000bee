#!/usr/bin/env python3
"""configs/char_lstm.yaml in PyTorch, for the target of tests/e2e/shakespeare: the same model, rows, windows, optimizer
and clipping, trained on the first nine tenths of a text and evaluated on the last, until the time is over.

    torch_char_lstm.py TEXT [--seconds 600] [--threads 2]

Prints a JSON line for each epoch: nats a character on the last tenth, seconds so far.

Seen on 2026-11-21 (torch 2.15.0, two threads on a quiet machine of two cores): 1.735 nats after epoch 1 (20 s), 1.595
after epoch 2 (40 s), 1.490 after epoch 7 (144 s). The target of 1.60 within ten minutes stands on that."""
import argparse
import json
import time

import torch
from torch import nn

ROWS, WINDOW, EMBEDDING, UNITS, DROPOUT, RATE, CLIP = 32, 64, 64, 256, 0.1, 0.002, 1.0


class CharLSTM(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, UNITS, 2, dropout=DROPOUT)
        self.dropout = nn.Dropout(DROPOUT)
        self.dense = nn.Linear(UNITS, vocabulary)

    def forward(self, x, state):
        y, state = self.lstm(self.embedding(x), state)
        return self.dense(self.dropout(y)).flatten(0, 1), state


def windows(tokens):
    """[n, WINDOW, ROWS] inputs and targets: rows are stretches of the text, windows of a row follow each other."""
    length = (len(tokens) - 1) // ROWS
    x = tokens[:ROWS * length].view(ROWS, length).t()
    y = tokens[1:ROWS * length + 1].view(ROWS, length).t()
    return [(x[i:i + WINDOW], y[i:i + WINDOW]) for i in range(0, length - WINDOW + 1, WINDOW)]


def run(model, batches, optimizer=None):
    """One pass; the mean loss a character."""
    state, total = None, 0.0
    for x, y in batches:
        logits, state = model(x, state)
        state = tuple(s.detach() for s in state)
        loss = nn.functional.cross_entropy(logits, y.flatten())
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
        total += loss.item()
    return total / len(batches)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('text')
    parser.add_argument('--seconds', type=float, default=600)
    parser.add_argument('--threads', type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    with open(options.text, encoding='utf-8') as f:
        text = f.read()
    number = {c: i for i, c in enumerate(sorted(set(text)))}
    tokens = torch.tensor([number[c] for c in text])
    cut = len(tokens) * 9 // 10
    train, valid = windows(tokens[:cut]), windows(tokens[cut:])
    model = CharLSTM(len(number))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    began, epoch = time.time(), 0
    while time.time() - began < options.seconds:
        epoch += 1
        model.train()
        loss = run(model, train, optimizer)
        model.eval()
        with torch.no_grad():
            found = run(model, valid)
        print(json.dumps({'peer': f'torch {torch.__version__}', 'epoch': epoch, 'train': round(loss, 4),
                          'nats': round(found, 4), 'seconds': round(time.time() - began, 1)}), flush=True)


main()
