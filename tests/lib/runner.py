#!/usr/bin/env python3
"""Runs the tests: those CTest knows in the build folder, and the test scripts. Called by tests/run.sh.

A script test is an executable under tests/e2e, tests/mpi, tests/gpu, tests/faults, tests/config, tests/mutants,
tests/fuzz or tests/rules with this line among its first ten:

    # TEST tier=quick timeout=60 slots=2 needs=python,shared-data

tier: quick, default, full or nightly; timeout: seconds; nightly=SECONDS: the test has a larger version, which --nightly
runs in its place for so long at most (it finds TEST_NIGHTLY=1 in its environment); slots: cores it keeps busy (default:
all); needs: python (an interpreter with numpy and h5py, given as $PYTHON), shared-data (the real data sets,
$SHARED_DATA), clang, plain (a build without sanitizers: tests of time and memory). A CTest test takes its tier from its
labels (quick when it has none of the three), its slots from PROCESSORS.

A test passes when it exits 0; the last line of a script's output is its figure. It is skipped when it exits 77 and
its last line of output starts with "SKIP:". The next test to start is the first that fits beside
those that run: never more slots are in use than there are cores.
"""
import argparse
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIERS = ('quick', 'default', 'full', 'nightly')
FOLDERS = ('rules', 'config', 'e2e', 'mpi', 'gpu', 'faults', 'fuzz', 'mutants')
SKIP_CODE = 77
TAIL_LINES = 40


class Test:
    """One thing to run. `command` is a list of words; `problem` says why it cannot be run."""

    def __init__(self, name, command, tier, timeout, slots, needs=(), folder=ROOT, environment=None,
                 is_script=False, nightly=0):
        self.name, self.command, self.tier, self.timeout = name, command, tier, timeout
        self.slots, self.needs, self.folder, self.environment = slots, needs, folder, environment or {}
        self.is_script, self.nightly = is_script, nightly

    def enlarge(self):
        """Becomes its larger version, where it has one."""
        if self.nightly > 0:
            self.timeout = self.nightly
            self.environment = dict(self.environment, TEST_NIGHTLY='1')


def script_tests(n_cores):
    """The test scripts, in the order of FOLDERS."""
    for folder in FOLDERS:
        path = os.path.join(ROOT, 'tests', folder)
        for name in sorted(os.listdir(path) if os.path.isdir(path) else []):
            file = os.path.join(path, name)
            if not os.path.isfile(file):
                continue
            with open(file, errors='replace') as f:
                header = [line for _, line in zip(range(10), f) if re.match(r'# TEST\b', line)]
            if not header:
                continue
            fields = dict(word.split('=', 1) for word in header[0].split()[2:])
            if fields.get('tier') not in TIERS:
                sys.exit(f'{file}: the TEST line needs tier=quick, default, full or nightly')
            if not os.access(file, os.X_OK):
                sys.exit(f'{file}: has a TEST line but is not executable')
            command = [sys.executable, file] if name.endswith('.py') else [file]
            yield Test(f'{folder}/{os.path.splitext(name)[0]}', command, fields['tier'],
                       float(fields.get('timeout', 60)), min(int(fields.get('slots', n_cores)), n_cores),
                       [n for n in fields.get('needs', '').split(',') if n], is_script=True,
                       nightly=float(fields.get('nightly', 0)))


def ctest_tests(build, n_cores):
    """The tests of the build folder, as CTest describes them."""
    text = subprocess.run(['ctest', '--show-only=json-v1'], cwd=build, check=True, stdout=subprocess.PIPE).stdout
    for test in json.loads(text)['tests']:
        properties = {p['name']: p['value'] for p in test.get('properties', [])}
        labels = properties.get('LABELS', [])
        tier = next((t for t in TIERS if t in labels), 'quick')
        slots = int(properties.get('PROCESSORS', 1))
        environment = dict(e.split('=', 1) for e in properties.get('ENVIRONMENT', []))
        yield Test(test['name'], test.get('command'), tier, float(properties.get('TIMEOUT', 300)), min(slots, n_cores),
                   folder=properties.get('WORKING_DIRECTORY', build), environment=environment)


def base_environment(build):
    """What every test finds in its environment."""
    e = dict(os.environ, ROOT=ROOT, BUILD=build, PYTHONPATH=os.path.join(ROOT, 'tests', 'lib'),
             PYTHONDONTWRITEBYTECODE='1')
    e['PATH'] = os.path.join(build, 'launcher') + os.pathsep + e['PATH']
    for name in ('DLTRAIN_THREADS', 'DLTRAIN_LOG', 'DLTRAIN_PLUGIN_DIR', 'TEST_NIGHTLY'):
        e.pop(name, None)
    with open(os.path.join(build, 'CMakeCache.txt')) as cache:
        e['SANITIZE'] = ''.join(re.findall(r'^DLTRAIN_SANITIZE:\w+=(.+)$', cache.read(), flags=re.M))
    if e['SANITIZE'] and e.get('SANITIZER_PRELOAD'):
        e['LD_PRELOAD'] = e['SANITIZER_PRELOAD']
    if os.geteuid() == 0:
        e['OMPI_ALLOW_RUN_AS_ROOT'] = e['OMPI_ALLOW_RUN_AS_ROOT_CONFIRM'] = '1'
    data = e.get('SHARED_DATA') or os.path.join(os.path.dirname(ROOT), 'shared', 'data')
    if os.path.isdir(data):
        e['SHARED_DATA'] = data
    return e


def missing_need(test, environment):
    """The first thing the test needs that is not here, or None. Finds $PYTHON when it is first asked for."""
    for need in test.needs:
        if need == 'python' and 'PYTHON' not in environment:
            finder = os.path.join(ROOT, 'tests', 'lib', 'find_python.sh')
            found = subprocess.run(['sh', finder], stdout=subprocess.PIPE, text=True)
            environment['PYTHON'] = found.stdout.strip() if found.returncode == 0 else ''
        if need == 'python' and not environment['PYTHON']:
            return 'no Python with numpy and h5py (apt-get install python3-numpy python3-h5py)'
        if need == 'shared-data' and 'SHARED_DATA' not in environment:
            return 'the folder ../shared/data is not there'
        if need == 'clang' and not shutil.which('clang'):
            return 'clang is not installed'
        if need == 'plain' and environment['SANITIZE']:
            return 'a build with a sanitizer'
    return None


def end_group(process):
    """Ends a test and everything it started, if anything is left: the group that it leads, and no other."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        time.sleep(1)


def run_test(test, environment):
    """Runs one test. Returns ('PASS' | 'FAIL' | 'SKIP', text to show: a figure, the end of the log, a reason)."""
    if not test.command:
        return 'FAIL', 'it was not built'
    if test.command[0] == sys.executable and 'python' in test.needs:
        test.command[0] = environment['PYTHON']
    scratch = tempfile.mkdtemp(prefix='dltrain-test-')
    environment = dict(environment, **test.environment, TEST_TMP=scratch, TEST_SLOTS=str(test.slots))
    log = os.path.join(scratch, 'test.log')
    limit = test.timeout * (4 if environment['SANITIZE'] else 2)  # of a hang: sanitizers and other work are slow
    try:
        with open(log, 'wb') as out:
            process = subprocess.Popen(test.command, cwd=test.folder, env=environment, stdin=subprocess.DEVNULL,
                                       stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                end_group(process)  # a test that failed may have left something running
        with open(log, errors='replace') as f:
            lines = f.read().rstrip().split('\n')
    except OSError as error:
        return 'FAIL', str(error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if code == 0:
        return 'PASS', lines[-1] if test.is_script else ''
    if code == SKIP_CODE and lines[-1].startswith('SKIP:'):
        return 'SKIP', lines[-1][5:].strip()
    end = f'not finished after {limit:.0f} s' if code is None else f'exit status {code}'
    return 'FAIL', '\n'.join('    | ' + line for line in lines[-TAIL_LINES:] + [end])


class Runner:
    """Runs tests side by side while their slots fit into the cores."""

    def __init__(self, tests, environment, n_cores):
        self.waiting, self.environment, self.free = list(tests), environment, n_cores
        self.changed = threading.Condition()
        self.count = {'PASS': 0, 'FAIL': 0, 'SKIP': 0}
        self.failed = []

    def one(self, test):
        started = time.monotonic()
        reason = missing_need(test, self.environment)
        outcome, text = ('SKIP', reason) if reason else run_test(test, self.environment)
        with self.changed:
            self.count[outcome] += 1
            if outcome == 'FAIL':
                self.failed.append(test.name)
            line = f'{outcome} {test.name} ({time.monotonic() - started:.1f} s)'
            print(line + ('\n' + text if outcome == 'FAIL' else ': ' + text if text else ''), flush=True)
            self.free += test.slots
            self.changed.notify_all()

    def first_that_fits(self):
        return next((test for test in self.waiting if test.slots <= self.free), None)

    def run(self):
        threads = []
        while self.waiting:
            with self.changed:
                test = self.changed.wait_for(self.first_that_fits)
                self.waiting.remove(test)
                self.free -= test.slots
            threads.append(threading.Thread(target=self.one, args=(test,)))
            threads[-1].start()
        for thread in threads:
            thread.join()


def main():
    parser = argparse.ArgumentParser(prog='tests/run.sh')
    tiers = parser.add_mutually_exclusive_group()
    tiers.add_argument('--quick', dest='tier', action='store_const', const='quick')
    tiers.add_argument('--full', dest='tier', action='store_const', const='full')
    tiers.add_argument('--nightly', dest='tier', action='store_const', const='nightly')
    parser.set_defaults(tier='default')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('--only', default='*')
    options = parser.parse_args()
    n_cores = len(os.sched_getaffinity(0))
    build = os.environ['BUILD']
    known = list(ctest_tests(build, n_cores)) + list(script_tests(n_cores))
    wanted = TIERS[:TIERS.index(options.tier) + 1]
    tests = [t for t in known if t.tier in wanted and any(fnmatch.fnmatch(t.name, p) for p in options.only.split(','))]
    for test in tests if options.tier == 'nightly' else []:
        test.enlarge()
    if options.list:
        for test in tests:
            print(f'{test.tier:8} {test.slots} {test.name}')
        return 0
    runner = Runner(tests, base_environment(build), n_cores)
    runner.run()
    if runner.failed:
        print('failed: ' + ' '.join(sorted(runner.failed)))
    print(f'{runner.count["PASS"]} passed, {runner.count["FAIL"]} failed, {runner.count["SKIP"]} skipped')
    return 1 if runner.failed or not tests else 0


if __name__ == '__main__':
    sys.exit(main())
