#!/usr/bin/env python3
# TEST tier=default timeout=180 slots=1
"""cuDNN has plans for an H200 for the convolutions of ResNet-50 and VGG16, found without a GPU.

The shapes are those of the programs' own training steps. Single convolutions get an engine whose workspace fits, in
float32 (with and without tf32) and bfloat16; rules keep out the engines they should. Fused ones are compiled at run
time: with the toolkit's stub of libcuda in place of a driver that goes as far as loading the result."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, os.environ.get('BUILD') or 'build')
PROGRAM = os.path.join(BUILD, 'tests', 'gpu', 'convolution_plans')
DEVICE = os.path.join(HERE, 'device_h200.json')
WORKSPACE_MIB = 1024
FORWARD = {'resnet50': 53, 'vgg16': 13}


def fail(text):
    print('FAILED: ' + text)
    sys.exit(1)


def answers(config, dtype, rules, form, **environment):
    """What the program says of each distinct convolution, and of their number."""
    command = [PROGRAM, DEVICE, dtype, rules, str(WORKSPACE_MIB), form,
               os.path.join(ROOT, 'configs', config + '.yaml'), 'backend=ref']
    done = subprocess.run(command, env=dict(os.environ, **environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True)
    if done.returncode != 0:
        fail(f'{" ".join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}')
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return lines[:-1], lines[-1]


def check_engines(model, dtype, rules, form='bare'):
    """Every distinct convolution has an engine that fits. Returns their number and the names of all engines."""
    found, counts = answers('models/' + model, dtype, rules, form)
    what = f'{model} {dtype} {rules} {form}'
    forward = FORWARD[model]
    if (counts['forward'], counts['backward_data'], counts['backward_weights']) != (forward, forward - 1, forward):
        fail(f'{what}: the step has other convolutions than the model: {counts}')
    if counts['distinct'] != len(found) or len({one['kind'] for one in found}) != 3:
        fail(f'{what}: {len(found)} answers to {counts}')
    for one in found:
        if one['engines'] < 1 or one['workspace'] > WORKSPACE_MIB << 20:
            fail(f'{what}: {one}')
    return len(found), {name for one in found for name in one['names']}


def check_rules():
    """An engine is named by what it does, so that rules can be seen to keep it out."""
    _, free = check_engines('vgg16', 'float32', 'none')
    _, exact = check_engines('vgg16', 'float32', 'exact')
    _, same = check_engines('vgg16', 'float32', 'exact+deterministic')
    if not any('nondeterministic' in name for name in exact) or any('nondeterministic' in name for name in same):
        fail(f'rules about determinism: {sorted(exact)} against {sorted(same)}')
    if not free - exact:
        fail('float32 without tf32 has the same engines as with it')


def stub_of_driver():
    """The toolkit's stub of libcuda; None without one."""
    with open(os.path.join(BUILD, 'CMakeCache.txt')) as cache:
        found = re.findall(r'^CUDA_cuda_driver_LIBRARY:\w+=(/.+)$', cache.read(), flags=re.M)
    return found[0] if found and os.path.exists(found[0]) else None


def check_fused():
    """The three fused shapes of the MNIST CNN: compiled, and refused by a driver that is none."""
    stub = stub_of_driver()
    if stub is None:
        return 'no stub of libcuda: fused plans not tried'
    folder = tempfile.mkdtemp(dir=os.environ.get('TEST_TMP'))
    shutil.copy(stub, os.path.join(folder, 'libcuda.so.1'))
    found, _ = answers('mnist_cnn', 'bfloat16', 'none', 'fused', LD_LIBRARY_PATH=folder)
    fused = [one for one in found if one['nodes'] == 3]
    compiled = [one for one in fused if 'cuLibraryLoadData' in one.get('reason', '')]
    if len(compiled) != 3 or len(fused) != 3:
        fail(f'{len(compiled)} of {len(fused)} fused plans came as far as being loaded: {fused[:2]}')
    return f'{len(compiled)} fused plans compiled'


def main():
    if not os.path.exists(PROGRAM):
        print('SKIP: built without cuDNN')
        sys.exit(77)
    n = 0
    for model in FORWARD:
        for dtype in 'float32', 'bfloat16':
            n += check_engines(model, dtype, 'none')[0]
    check_rules()
    print(f'{n} plans for an H200; {check_fused()}')


if __name__ == '__main__':
    main()
