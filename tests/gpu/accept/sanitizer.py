"""compute-sanitizer over a few steps of small models."""
import re
import shutil

import setting

TOOLS = ('memcheck', 'racecheck', 'initcheck')
MODELS = [('mnist_cnn.yaml', ['train.batch_size=8']), ('models/resnet20.yaml', ['train.batch_size=4']),
          ('word_lstm.yaml', ['train.batch_size=4'])]


def check(tool, name, overrides):
    words = [setting.program('dltrain'), 'bench', setting.config(name), f'backend={setting.BACKEND}', *overrides,
             '--steps', '2', '--warmup', '1']
    watched = [] if setting.REHEARSAL else ['compute-sanitizer', '--tool', tool, '--error-exitcode', '9']
    done = setting.run([*watched, *words])
    said = re.findall(r'ERROR SUMMARY: .*|RACECHECK SUMMARY: .*', done.out + done.err)
    return {'name': f'{tool} {name}', 'value': said[-1] if said else ('ran' if done.code == 0 else done.why()),
            'lines': [line for line in (done.out + done.err).split('\n') if line.startswith('=========')][:40],
            'kept': done.code == 0}


def figures():
    if not setting.REHEARSAL and shutil.which('compute-sanitizer') is None:
        yield {'name': 'compute-sanitizer', 'value': 'not on this machine', 'kept': False}
        return
    for tool in TOOLS[:1] if setting.REHEARSAL else TOOLS:
        for name, overrides in MODELS:
            yield check(tool, name, overrides)
