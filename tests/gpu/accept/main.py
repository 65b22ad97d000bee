"""accept.sh: runs parts, prints their figures, keeps them."""
import argparse
import json
import os
import sys
import tempfile

import answers
import benchmark
import conformance
import sanitizer
import setting
import training

PARTS = {'conformance': conformance.figures, 'answers': answers.figures, 'training': training.figures,
         'sanitizer': sanitizer.figures, 'benchmark': benchmark.figures}


def path_of(part):
    return os.path.join(setting.RESULTS, part + '.json')


def show_list():
    for part in PARTS:
        try:
            with open(path_of(part)) as f:
                kept = json.load(f)
        except (OSError, ValueError):
            print(f'{part:12} missing: not yet run on a GPU')
            continue
        missed = [f['name'] for f in kept['figures'] if not f['kept']]
        print(f'{part:12} {kept["versions"]["date"]} {kept["versions"]["commit"]}: {len(kept["figures"])} figures'
              + (f', missed: {", ".join(missed)}' if missed else ''))


def run_part(part):
    """Its figures, each {name, kept, ...}; printed as they come and kept, what was interrupted too."""
    found = []
    versions = setting.versions()
    for figure in PARTS[part]():
        found.append(figure)
        print(f'{"ok    " if figure["kept"] else "MISSED"} {figure["name"]}: {figure["value"]}', flush=True)
        if not setting.REHEARSAL:
            os.makedirs(setting.RESULTS, exist_ok=True)
            with open(path_of(part) + '.new', 'w') as f:
                json.dump({'part': part, 'versions': versions, 'figures': found}, f, indent=1)
            os.replace(path_of(part) + '.new', path_of(part))
    return all(f['kept'] for f in found)


def main():
    parser = argparse.ArgumentParser(prog='tests/gpu/accept.sh')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('part', nargs='*')
    options = parser.parse_args()
    unknown = [p for p in options.part if p not in PARTS]
    if unknown:
        parser.error(f'there is no part {unknown[0]}; there are {", ".join(PARTS)}')
    if options.list:
        show_list()
        return 0
    with tempfile.TemporaryDirectory(prefix='dltrain-accept-') as folder:
        os.chdir(folder)
        os.environ['XDG_CACHE_HOME'] = os.path.join(folder, 'cache')  # nothing is known from before
        good = [run_part(part) for part in options.part or PARTS]
        os.chdir('/')
    return 0 if all(good) else 1


sys.exit(main())
