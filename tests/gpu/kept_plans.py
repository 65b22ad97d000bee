#!/usr/bin/env python3
# TEST tier=default timeout=60 slots=1
"""Plans that cuDNN compiles at run time are kept: a later start makes them from their files and compiles none.

With the real cuDNN, for a GPU that is only described, and a driver that takes what is compiled (loading_driver.c)."""
import json
import os
import shutil
import sys
import tempfile
import time

import plans

DRIVER = os.path.join(plans.BUILD, 'tests', 'gpu', 'driver', 'libcuda.so.1')
N_FUSED = 3  # convolutions with bias and relu of the MNIST CNN: the ones cuDNN has no kernels for


def driver_folder(stub):
    folder = tempfile.mkdtemp(dir=os.environ.get('TEST_TMP'))
    shutil.copy(DRIVER, folder)
    shutil.copy(stub, os.path.join(folder, 'libcudastub.so'))
    return folder


def start(folder, cache, **environment):
    """What is answered, the files kept by name (a file is replaced when a plan is compiled), and the seconds."""
    begin = time.monotonic()
    found, _ = plans.answers('mnist_cnn', 'bfloat16', 'none', 'fused', LD_LIBRARY_PATH=folder, XDG_CACHE_HOME=cache,
                             **environment)
    seconds = time.monotonic() - begin
    if any(one['engines'] == 0 for one in found):
        plans.fail(f'no plan: {[one for one in found if one["engines"] == 0]}')
    kept = os.path.join(cache, 'dltrain')
    names = sorted(os.listdir(kept)) if os.path.isdir(kept) else []
    return found, {name: os.stat(os.path.join(kept, name)).st_ino for name in names}, seconds


def read(cache, name):
    with open(os.path.join(cache, 'dltrain', name), 'rb') as file:
        return file.read()


def kernels(data):
    """Machine code by name. (The arguments beside it hold bytes that nobody has set.)"""
    plan = json.loads(data[33:])
    return {one['kernelName']: one['cubin'] for one in plan['engine']['payload']['kernels']}


def change(cache, name, data):
    with open(os.path.join(cache, 'dltrain', name), 'wb') as file:
        file.write(data)


def check_damage(folder, cache, kept, answers):
    """A file that is damaged in one byte, cut, empty, or another's: its plan is compiled again, and right."""
    name, other = sorted(kept)[:2]
    whole = read(cache, name)
    middle = len(whole) // 2
    damaged = {'a byte': whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:], 'cut': whole[:middle],
               'empty': b'', 'no text': b'0' * 32 + b'\n'}
    for what, data in damaged.items():
        change(cache, name, data)
        found, now, _ = start(folder, cache)
        if found != answers:
            plans.fail(f'{what}: other answers')
        if now[name] == kept[name] or kernels(read(cache, name)) != kernels(whole):
            plans.fail(f'{what}: not compiled again')
        if now[other] != kept[other]:
            plans.fail(f'{what}: a file beside it was replaced')
        kept = now


def check_key(folder, cache, n_before):
    """Another GPU takes none of them."""
    with open(os.path.join(plans.HERE, 'device_h200.json')) as file:
        other = file.read().replace('"driverVer": 13000', '"driverVer": 13010')
    device = os.path.join(os.environ.get('TEST_TMP') or tempfile.mkdtemp(), 'device.json')
    with open(device, 'w') as file:
        file.write(other)
    plans.DEVICE = device
    _, now, _ = start(folder, cache)
    if len(now) != n_before + N_FUSED:
        plans.fail(f'{len(now)} files after another driver, {n_before} before')


def main():
    stub = plans.stub_of_driver() if os.path.exists(plans.PROGRAM) else None
    if stub is None:
        print('SKIP: built without cuDNN, or no stub of libcuda')
        sys.exit(77)
    folder, cache = driver_folder(stub), tempfile.mkdtemp(dir=os.environ.get('TEST_TMP'))
    answers, kept, cold = start(folder, cache)
    if len(kept) != N_FUSED:
        plans.fail(f'{len(kept)} plans kept: {sorted(kept)}')
    again, unchanged, warm = start(folder, cache)
    if again != answers or unchanged != kept:
        plans.fail('the second start compiled, or found other plans')
    check_damage(folder, cache, kept, answers)
    if start(folder, '/dev/null')[0] != answers:
        plans.fail('other answers where nothing can be kept')
    check_key(folder, cache, len(kept))
    print(f'{N_FUSED} plans compiled in {cold:.2f} s, taken from their files in {warm:.2f} s')


if __name__ == '__main__':
    main()
