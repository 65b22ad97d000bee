#!/usr/bin/env python3
"""Writes golden.bin: numbers computed by PyTorch that tests/golden/golden.c compares the backends with.

    python3 tests/golden/make_golden.py            (needs torch and numpy; the file is kept in the repository)

PyTorch computes in float64; inputs are float32 values, results are rounded to float32 once. The file is a row of
records: a line "NAME DIM DIM ...", then the float32 values, little-endian, then a newline. Tensors are stored in this
project's layouts: images NHWC, convolution weights OIHW, dense weights [out, in].
"""
import os

import numpy as np
import torch
import torch.nn.functional as F

random = np.random.default_rng(7)
records = []
CLIP_NORM = 1.5


def put(name, values):
    values = values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    records.append((name, np.ascontiguousarray(values, dtype="<f4")))


def made(*shape):
    """Random float32 values, as a float64 tensor that wants a gradient."""
    values = random.uniform(-1, 1, shape).astype(np.float32)
    return torch.tensor(values.astype(np.float64), requires_grad=True)


def gradient_of(y):
    return torch.tensor(random.uniform(-1, 1, y.shape).astype(np.float32).astype(np.float64))


def conv(x, w, b, stride, padding, groups):
    """x is NHWC; padding is top, bottom, left, right."""
    top, bottom, left, right = padding
    padded = F.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom))
    return F.conv2d(padded, w, b, stride=stride, groups=groups).permute(0, 2, 3, 1)


def backward(prefix, y, **inputs):
    """Stores inputs, result and gradients of one operation."""
    dy = gradient_of(y)
    y.backward(dy)
    put(prefix + "y", y)
    put(prefix + "dy", dy)
    for name, tensor in inputs.items():
        put(prefix + name, tensor)
        put(prefix + "d" + name, tensor.grad)


def convolutions():
    cases = {  # n h w c, k r s, stride, padding, groups
        "plain": (2, 7, 6, 3, 4, 3, 3, (1, 1), (0, 0, 0, 0), 1),
        "same": (2, 6, 5, 4, 5, 3, 3, (1, 1), (1, 1, 1, 1), 1),
        "strided": (2, 9, 8, 2, 6, 3, 2, (2, 3), (0, 0, 0, 0), 1),
        "asymmetric": (2, 6, 6, 2, 3, 4, 3, (2, 2), (0, 2, 1, 0), 1),
        "groups": (2, 5, 5, 6, 4, 3, 3, (1, 1), (1, 1, 1, 1), 2),
        "depthwise": (2, 6, 6, 4, 8, 3, 3, (2, 2), (0, 1, 0, 1), 4),
        "one_by_one": (3, 4, 4, 5, 7, 1, 1, (1, 1), (0, 0, 0, 0), 1),
    }
    for name, (n, h, w, c, k, r, s, stride, padding, groups) in cases.items():
        prefix = f"conv/{name}/"
        x, weight, bias = made(n, h, w, c), made(k, c // groups, r, s), made(k)
        put(prefix + "attr", [*stride, *padding, groups])
        backward(prefix, conv(x, weight, bias, stride, padding, groups), x=x, w=weight, b=bias)


def denses():
    for name, (n, inputs, outputs) in {"odd": (5, 13, 7), "one": (1, 30, 1)}.items():
        x, w, b = made(n, inputs), made(outputs, inputs), made(outputs)
        put(f"dense/{name}/attr", [0])
        backward(f"dense/{name}/", F.linear(x, w, b), x=x, w=w, b=b)


def poolings():
    cases = {"two": (2, 6, 7, 3, (2, 2), (2, 2), 0), "overlapping": (2, 9, 9, 2, (3, 3), (2, 2), 1)}
    for name, (n, h, w, c, window, stride, padding) in cases.items():
        x = made(n, h, w, c)
        y = F.max_pool2d(x.permute(0, 3, 1, 2), window, stride, padding).permute(0, 2, 3, 1)
        put(f"pool/{name}/attr", [*window, *stride, padding, padding, padding, padding])
        backward(f"pool/{name}/", y, x=x)


def activations():
    """The attribute is this project's number of the activation."""
    functions = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}
    for number, (name, function) in enumerate(functions.items()):
        x = made(3, 41)
        put(f"activation/{name}/attr", [number + 1])
        backward(f"activation/{name}/", function(x), x=x)


def softmaxes():
    x = made(5, 11)
    put("softmax/rows/attr", [0])
    backward("softmax/rows/", torch.softmax(x, dim=1), x=x)
    x, labels = made(7, 10), torch.tensor(random.integers(0, 10, 7))
    loss = F.cross_entropy(x, labels, reduction="none")
    loss.mean().backward()
    put("softmax_cross_entropy/mean/attr", [7])  # the scale is one over this
    put("softmax_cross_entropy/mean/labels", labels)
    put("softmax_cross_entropy/mean/x", x)
    put("softmax_cross_entropy/mean/p", torch.softmax(x, dim=1))
    put("softmax_cross_entropy/mean/loss", loss)
    put("softmax_cross_entropy/mean/dx", x.grad)


def network():
    """conv relu pool conv relu flatten dense, mean cross-entropy: all gradients of a small convolutional network."""
    n, x = 6, made(6, 12, 12, 1)
    labels = torch.tensor(random.integers(0, 10, n))
    w1, b1, w2, b2 = made(4, 1, 3, 3), made(4), made(6, 4, 3, 3), made(6)
    w3, b3 = made(10, 54), made(10)
    a = torch.relu(conv(x, w1, b1, 1, (0, 0, 0, 0), 1))
    a = F.max_pool2d(a.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    a = torch.relu(conv(a, w2, b2, 1, (0, 0, 0, 0), 1)).reshape(n, 54)
    loss = F.cross_entropy(F.linear(a, w3, b3), labels, reduction="none")
    loss.mean().backward()
    tensors = {"w1": w1, "b1": b1, "w2": w2, "b2": b2, "w3": w3, "b3": b3}
    put("network/x", x)
    put("network/labels", labels)
    put("network/loss", loss)
    for name, tensor in tensors.items():
        put("network/" + name, tensor)
        put("network/d" + name, tensor.grad)


def optimizers():
    """attr: learning rate, then the options; g[step] are the gradients, w[step] the parameters after each step."""
    steps, n = 20, 37
    cases = {
        "sgd/plain": (torch.optim.SGD, [0.1, 0, 0, 0]),
        "sgd/momentum": (torch.optim.SGD, [0.05, 0.9, 0, 0]),
        "sgd/nesterov": (torch.optim.SGD, [0.05, 0.9, 0.01, 1]),
        "sgd/decay": (torch.optim.SGD, [0.1, 0, 0.05, 0]),
        "adam/usual": (torch.optim.Adam, [0.01, 0.9, 0.999, 1e-7, 0]),
        "adam/decay": (torch.optim.Adam, [0.02, 0.8, 0.99, 1e-7, 0.02]),
        "rmsprop/usual": (torch.optim.RMSprop, [0.01, 0.9, 1e-7, 0, 0, 0]),
        "rmsprop/momentum": (torch.optim.RMSprop, [0.005, 0.95, 1e-7, 0.9, 0.01, 0]),
        "rmsprop/centered": (torch.optim.RMSprop, [0.01, 0.9, 1e-3, 0, 0, 1]),
        "rmsprop/all": (torch.optim.RMSprop, [0.005, 0.8, 1e-3, 0.5, 0.02, 1]),
        "sgd/clipped": (torch.optim.SGD, [0.1, 0.9, 0.01, 0]),
        "rmsprop/clipped": (torch.optim.RMSprop, [0.01, 0.9, 1e-7, 0, 0.01, 0]),
    }
    for name, (kind, o) in cases.items():
        start = made(n)
        w = start.clone().detach().requires_grad_()
        if kind is torch.optim.SGD:
            optimizer = kind([w], lr=o[0], momentum=o[1], weight_decay=o[2], nesterov=bool(o[3]))
        elif kind is torch.optim.RMSprop:
            optimizer = kind([w], lr=o[0], alpha=o[1], eps=o[2], momentum=o[3], weight_decay=o[4], centered=bool(o[5]))
        else:
            optimizer = kind([w], lr=o[0], betas=(o[1], o[2]), eps=o[3], weight_decay=o[4])
        gradients, states, norms = made(steps, n).detach(), [], []
        if name.endswith("clipped"):
            gradients[::3] *= 0.1  # some stay below the limit
        for step in range(steps):
            w.grad = gradients[step].clone()
            if name.endswith("clipped"):  # their norms are about 3.5
                norms.append(torch.nn.utils.clip_grad_norm_([w], CLIP_NORM))
            optimizer.step()
            states.append(w.detach().clone())
        put(f"{name}/attr", o)
        put(f"{name}/start", start)
        put(f"{name}/g", gradients)
        put(f"{name}/w", torch.stack(states))
        if norms:
            put(f"{name}/clip", [CLIP_NORM])
            put(f"{name}/norm", torch.stack(norms))


def losses():
    """attr: one over the scale, then the smoothing or 1 for absolute errors. Rows without a label: ignore_index."""
    for name, shape, smoothing in (("smoothed", (9, 7), 0.1), ("rows", (4, 3, 6), 0.2)):
        prefix = f"softmax_cross_entropy/{name}/"
        x, labels = made(*shape), torch.tensor(random.integers(0, shape[-1], shape[:-1]))
        labels.view(-1)[1::3] = -1
        rows = x.reshape(-1, shape[-1])
        loss = F.cross_entropy(rows, labels.reshape(-1), reduction="none", ignore_index=-1, label_smoothing=smoothing)
        (loss.sum() / 5).backward()
        put(prefix + "attr", [5, smoothing])
        put(prefix + "labels", labels)
        put(prefix + "x", x)
        put(prefix + "p", torch.softmax(x, dim=-1))
        put(prefix + "loss", loss.reshape(shape[:-1]))
        put(prefix + "dx", x.grad)
    for name, function, absolute in (("squared", F.mse_loss, 0), ("absolute", F.l1_loss, 1)):
        prefix, x, target = f"error/{name}/", made(6, 5), made(6, 5).detach()
        loss = function(x, target, reduction="none").mean(dim=1)
        (loss.sum() / 6).backward()
        put(prefix + "attr", [6, absolute])
        put(prefix + "x", x)
        put(prefix + "target", target)
        put(prefix + "loss", loss)
        put(prefix + "dx", x.grad)


def averages():
    """An exponential moving average of parameters: w[step] are the parameters, average[step] their average after it."""
    decay, steps, n = 0.9, 8, 37
    holder = torch.nn.Module()
    holder.w = torch.nn.Parameter(torch.zeros(n, dtype=torch.float64))
    average = torch.optim.swa_utils.AveragedModel(
        holder, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay))
    w, found = made(steps, n).detach(), []
    for step in range(steps):
        holder.w.data = w[step].clone()
        average.update_parameters(holder)
        found.append(average.module.w.detach().clone())
    put("average/ema/decay", [decay])
    put("average/ema/w", w)
    put("average/ema/average", torch.stack(found))


def schedules():
    """rate[epoch]: the learning rate of PyTorch's schedulers in ten epochs, from 0.5."""
    kinds = torch.optim.lr_scheduler
    cases = {
        "step_epochs": lambda o: kinds.MultiStepLR(o, [3, 7], 0.5),
        "step_every": lambda o: kinds.StepLR(o, 4, 0.1),
        "exponential": lambda o: kinds.ExponentialLR(o, 0.8),
        "polynomial": lambda o: kinds.PolynomialLR(o, 10, 2.0),
        "cosine": lambda o: kinds.CosineAnnealingLR(o, 10),
    }
    for name, make in cases.items():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        scheduler, rates = make(optimizer), []
        for _ in range(10):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        put(f"schedule/{name}/rate", rates)


def main():
    for part in (convolutions, denses, poolings, activations, softmaxes, network, optimizers, losses,
                 averages, schedules):
        part()
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.bin")
    with open(path, "wb") as file:
        for name, values in records:
            file.write(f"{name} {' '.join(str(d) for d in values.shape)}\n".encode())
            file.write(values.tobytes() + b"\n")
    print(f"{path}: {len(records)} records, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
