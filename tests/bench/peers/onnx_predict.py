"""ONNX Runtime's side of tests/bench/predict.py.

    onnx_predict.py export WEIGHTS.h5 MODEL.onnx                     the network of configs/mnist_cnn.yaml
    onnx_predict.py run MODEL.onnx DATA BATCH THREADS SAMPLES [SAID.jsonl]

run prints {"p50_ms", "p99_ms"} of a batch, and with SAID.jsonl, the lines of `dltrain predict --top 10`, the largest
difference of a probability."""
import glob
import json
import os
import sys
import time

import h5py
import numpy as np


def export(weights, path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    tensors, nodes, last = [], [], 'pixels'

    def constant(name, array):
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(array, 'f4'), name))
        return name

    def add(kind, inputs, name, **attributes):
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    with h5py.File(weights, 'r') as f:
        w = {name: {tensor: f[name][tensor][()] for tensor in f[name]} for name in f}
    last = add('Div', [last, constant('scale', np.float32(255))], 'scaled')
    convolutions = sorted(name for name in w if name.startswith('conv2d'))
    for i, name in enumerate(convolutions):
        parameters = [constant(f'{name}.{tensor}', w[name][tensor]) for tensor in ('weight', 'bias')]
        last = add('Conv', [last, *parameters], name)
        last = add('Relu', [last], name + '.relu')
        if i < 2:
            last = add('MaxPool', [last], name + '.pool', kernel_shape=[2, 2], strides=[2, 2])
    first, second = sorted(name for name in w if name.startswith('dense'))
    channels = w[convolutions[-1]]['weight'].shape[0]
    units, inputs = w[first]['weight'].shape  # flatten takes [H, W, C]
    side = int(round((inputs // channels) ** 0.5))
    rows = w[first]['weight'].reshape(units, side, side, channels).transpose(0, 3, 1, 2).reshape(units, inputs)
    last = add('Flatten', [last], 'flat', axis=1)
    last = add('Gemm', [last, constant('d1.w', rows), constant('d1.b', w[first]['bias'])], 'd1', transB=1)
    last = add('Relu', [last], 'd1.relu')
    parameters = [constant(f'{second}.{tensor}', w[second][tensor]) for tensor in ('weight', 'bias')]
    last = add('Gemm', [last, *parameters], 'd2', transB=1)
    last = add('Softmax', [last], 'probabilities', axis=1)
    graph = helper.make_graph(nodes, 'mnist_cnn',
                              [helper.make_tensor_value_info('pixels', TensorProto.FLOAT, ['n', 1, 28, 28])],
                              [helper.make_tensor_value_info(last, TensorProto.FLOAT, ['n', 10])], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)


def run(path, data, batch, threads, samples, said=None):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    with h5py.File(sorted(glob.glob(os.path.join(data, 'test-*.h5')))[0], 'r') as f:
        x = f['x'][:].astype('f4').transpose(0, 3, 1, 2)
    x, seconds, outputs = np.ascontiguousarray(x), [], []
    session.run(None, {'pixels': x[:batch]})
    for first in range(0, len(x) if said else min(samples, len(x)), batch):
        before = time.perf_counter()
        outputs.append(session.run(None, {'pixels': x[first:first + batch]})[0])
        seconds.append(time.perf_counter() - before)
    full = sorted(seconds[:samples // batch])
    result = {'p50_ms': 1e3 * full[len(full) // 2], 'p99_ms': 1e3 * full[len(full) * 99 // 100]}
    if said:
        p, difference = np.concatenate(outputs), 0
        for i, line in enumerate(map(json.loads, open(said))):
            difference = max(difference, float(np.abs(p[i][line['top']] - line['probabilities']).max()))
        result['difference'] = difference
    print(json.dumps(result))


if sys.argv[1] == 'export':
    export(*sys.argv[2:])
else:
    run(*sys.argv[2:4], *map(int, sys.argv[4:7]), *sys.argv[7:])
