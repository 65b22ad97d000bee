#!/usr/bin/env python3
"""dltrain predict beside ONNX Runtime: the same network, the same weights, turn by turn, batches of 128 and of 1.

    tests/bench/predict.py [--rounds N] [--threads N]

Trains configs/mnist_cnn.yaml for some steps, writes its weights as an ONNX model, checks that both say the same of the
test digits (probabilities to 1e-5), and prints medians of the latency of a batch (its p50 in each turn) and of the
turns' ratios. Exit status 1 when a ratio is above the limit. ONNX Runtime comes from PyPI into
${XDG_CACHE_HOME:-~/.cache}/dltrain-peers/onnx; ONNX_PYTHON names another interpreter that has it (and onnx, h5py).
BUILD names the build folder. $BUILD/bench/predict.json has the figures."""
import argparse
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get('BUILD') or 'build')
FOLDER = os.path.join(BUILD, 'bench', 'predict')
DLTRAIN = os.path.join(BUILD, 'launcher', 'dltrain')
PEER = os.path.join(ROOT, 'tests', 'bench', 'peers', 'onnx_predict.py')
LIMIT = 1.5
SAMPLES = {128: 10000, 1: 5000}


def peer_python():
    """An interpreter with onnxruntime and onnx, made when there is none."""
    found = os.environ.get('ONNX_PYTHON')
    if found:
        return found
    folder = os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'dltrain-peers', 'onnx')
    python = os.path.join(folder, 'bin', 'python')
    words = [python, '-c', 'import onnx, onnxruntime, h5py']
    if not os.path.exists(python) or subprocess.run(words, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        subprocess.run([sys.executable, '-m', 'venv', folder], check=True)
        subprocess.run([os.path.join(folder, 'bin', 'pip'), 'install', '-q', 'onnxruntime', 'onnx', 'h5py'], check=True)
    return python


def run(words, threads):
    environment = dict(os.environ, DLTRAIN_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    done = subprocess.run(words, cwd=FOLDER, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode != 0:
        sys.exit(f'{" ".join(words)}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}')
    return done.stdout


def prepare(python):
    os.makedirs(FOLDER, exist_ok=True)
    run([DLTRAIN, os.path.join(ROOT, 'configs', 'mnist_cnn.yaml'), 'train.max_steps=150', 'run.dir=run',
         'data.path=digits', '--fresh'], 2)
    run([python, PEER, 'export', 'run/weights.h5', 'model.onnx'], 1)


def dltrain(batch, threads):
    test = sorted(name for name in os.listdir(os.path.join(FOLDER, 'digits')) if name.startswith('test-'))
    words = [DLTRAIN, 'predict', 'run', *(os.path.join('digits', name) for name in test), '--batch', str(batch),
             '--top', '10', '--out', 'said.jsonl', '--json']
    return json.loads(run(words, threads))['latency_ms']['p50']


def onnx(python, batch, threads, check):
    words = [python, PEER, 'run', 'model.onnx', 'digits', str(batch), str(threads), str(SAMPLES[batch])]
    said = json.loads(run(words + (['said.jsonl'] if check else []), threads))
    if check and not said['difference'] <= 1e-5:
        sys.exit(f'the probabilities differ by {said["difference"]}')
    return said['p50_ms']


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=1)
    options = parser.parse_args()
    python = peer_python()
    prepare(python)
    results, failed = {'threads': options.threads, 'limit': LIMIT}, False
    for batch in sorted(SAMPLES, reverse=True):
        turns = [(dltrain(batch, options.threads), onnx(python, batch, options.threads, turn == 0))
                 for turn in range(options.rounds)]
        ours, theirs = (statistics.median(side) for side in zip(*turns))
        ratio = statistics.median(a / b for a, b in turns)
        failed = failed or ratio > LIMIT
        results[f'batch_{batch}'] = {'dltrain_ms': ours, 'onnx_ms': theirs, 'ratio': ratio}
        print(f'batch {batch:3}, {options.threads} thread{"s" * (options.threads > 1)}: dltrain {ours:.3f} ms, '
              f'ONNX Runtime {theirs:.3f} ms, ratio {ratio:.2f} (limit {LIMIT})', flush=True)
    with open(os.path.join(BUILD, 'bench', 'predict.json'), 'w') as f:
        json.dump(results, f, indent=1)
    sys.exit(1 if failed else 0)


main()
