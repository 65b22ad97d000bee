"""Memory of running processes, from /proc. Standard library only."""
import os
import subprocess
import tempfile
import time


def status_of(pid):
    """The Rss* and VmHWM lines of a process in bytes, or {} when it is gone."""
    try:
        with open(f'/proc/{pid}/status') as f:
            return {line.split(':')[0]: int(line.split()[1]) * 1024 for line in f if line.startswith(('Rss', 'VmHWM'))}
    except (OSError, IndexError):
        return {}


def below(pid):
    """A process and all that it started."""
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        try:
            for task in os.listdir(f'/proc/{found[-1]}/task'):
                with open(f'/proc/{found[-1]}/task/{task}/children') as f:
                    waiting += [int(child) for child in f.read().split()]
        except OSError:
            pass
    return found


def is_program(pid, program):
    try:
        return os.readlink(f'/proc/{pid}/exe') == program
    except OSError:
        return False


def watch(command, program=None, interval=0.004, **options):
    """Runs a command to its end. Returns (exit status, stdout, stderr, peak, high): the largest RssAnon + RssShmem and
    the largest VmHWM - RssFile of any process (of `program` only, when given) below it."""
    peak = high = 0
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, **options)
        while process.poll() is None:
            for pid in below(process.pid):
                memory = status_of(pid)
                if 'VmHWM' in memory and (program is None or is_program(pid, program)):
                    peak = max(peak, memory['RssAnon'] + memory['RssShmem'])
                    high = max(high, memory['VmHWM'] - memory['RssFile'])
            time.sleep(interval)
        for file in (out, err):
            file.seek(0)
        return process.returncode, out.read(), err.read(), peak, high
