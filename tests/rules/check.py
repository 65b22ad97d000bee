#!/usr/bin/env python3
# TEST tier=quick timeout=30 slots=1
"""Checks the rules of the source tree: what lies at the top, who includes whom, sizes, who may exit or print, and that
every row of a table has its file and its text. Prints FILE:LINE: RULE: what is wrong; exit status 1 when something is.

    tests/rules/check.py [ROOT]
"""
import ast
import fnmatch
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

MAX_FILE, MAX_FUNCTION, MAX_LINE, MAX_EXCEPTIONS = 600, 80, 120, 5
TOP_REQUIRED = {'CMakeLists.txt', 'src', 'comm', 'kernels', 'launcher', 'datasets', 'configs', 'tests', 'README.md'}
TOP_ALLOWED = TOP_REQUIRED | {'LICENSE', 'CHANGELOG.md', 'CONTRIBUTING.md'}
CODE = ('.c', '.h', '.def', '.cu', '.cuh')
SIZED = CODE + ('.py', '.sh', '.cmake', 'CMakeLists.txt')

# Tables whose rows name things: file, macro, symbol of a row, where it is defined ('{}' is the row's name), and
# whether each row has a file of its own.
TABLES = (
    ('kernels/ops.def', 'DL_OP_KIND', 'dl_op_info_{}', 'kernels/ops/*.c', False),
    ('src/model/augmentations.def', 'DL_AUGMENTATION', 'dl_augmentation_{}', 'src/model/augmentations/{}.c', True),
    ('src/model/layers.def', 'DL_LAYER', 'dl_layer_{}', 'src/model/layers/{}.c', True),
    ('src/model/losses.def', 'DL_LOSS', 'dl_loss_{}', 'src/model/losses/{}.c', True),
    ('src/model/metrics.def', 'DL_METRIC', 'dl_metric_{}', 'src/model/metrics/*.c', False),
    ('src/optim/optimizers.def', 'DL_OPTIMIZER', 'dl_optimizer_{}', 'src/optim/{}.c', True),
    ('src/optim/schedules.def', 'DL_SCHEDULE', 'dl_schedule_{}', 'src/optim/*.c', False),
    ('kernels/backends.def', 'DL_BACKEND', 'dl_backend_{}', 'kernels/*.c', False),
    ('launcher/commands.def', 'DL_COMMAND', 'dl_command_{}', 'launcher/cmd_{}.c', True),
    ('datasets/importers.def', 'DL_IMPORTER', 'dl_importer_{}', 'datasets/import_{}.c', True),
    ('datasets/makers.def', 'DL_MAKER', 'dl_maker_{}', 'datasets/make_{}.c', True),
)


def blank(match):
    """Replaces a comment or a literal by blanks, keeping its lines."""
    return re.sub(r'[^\n]', ' ', match.group(0))


def strip_c(text, literals=True):
    """C source without comments (and without the contents of literals)."""
    parts = [r'/\*.*?\*/', r'//[^\n]*']
    strings = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''

    def replace(match):
        return match.group(0) if not literals and match.group(0)[0] in '"\'' else blank(match)
    return re.sub('|'.join([strings] + parts), replace, text, flags=re.S)


class Tree:
    """The files of a source tree: those that git knows or would add, else all of them."""

    def __init__(self, root):
        self.root = os.path.abspath(root)
        self.problems = []
        git = subprocess.run(['git', '-C', self.root, 'ls-files', '-co', '--exclude-standard', '-z'],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if git.returncode == 0 and os.path.exists(os.path.join(self.root, '.git')):
            names = [n for n in git.stdout.split('\0') if n]
        else:
            names = [os.path.relpath(os.path.join(d, f), self.root) for d, _, fs in os.walk(self.root) for f in fs]
        self.files = sorted(n for n in names if os.path.isfile(os.path.join(self.root, n)))
        self.text = {n: self.read(n) for n in self.files if n.endswith(SIZED) or self.is_script(n)}
        self.code = {n: strip_c(t) for n, t in self.text.items() if n.endswith(CODE)}

    def read(self, name):
        with open(os.path.join(self.root, name), encoding='utf-8', errors='replace') as f:
            return f.read()

    def is_script(self, name):
        with open(os.path.join(self.root, name), 'rb') as f:
            return f.read(2) == b'#!'

    def say(self, name, line, rule, what):
        self.problems.append(f'{name}:{line}: {rule}: {what}')

    def matching(self, pattern):
        return [n for n in self.files if fnmatch.fnmatch(n, pattern)]


def line_of(text, position):
    return text.count('\n', 0, position) + 1


def check_top(tree):
    """The top level holds what the project's plan says, and nothing else."""
    top = {n.split('/')[0] for n in tree.files}
    for name in sorted(top - TOP_ALLOWED):
        if not name.startswith('.'):
            tree.say(name, 1, 'top', 'does not belong at the top of the tree')
    for name in sorted(TOP_REQUIRED - top):
        tree.say(name, 1, 'top', 'is missing')


def read_layering(tree):
    """layering.txt: ({folder: prefixes}, [(header pattern, file patterns)])."""
    folders, libraries, target = {}, [], 'folders'
    for line in tree.read('tests/rules/layering.txt').split('\n'):
        line = line.split('#')[0].strip()
        if line == '[libraries]':
            target = 'libraries'
        elif line and target == 'folders':
            folder, prefixes = line.split(':')
            folders[folder] = prefixes.split()
        elif line:
            libraries.append((line.split()[0], line.split()[1:]))
    return folders, libraries


def module_of(include, name, tree):
    """The path in the tree of an include that file `name` writes with quotes, or None. Tests may use their own folder.
    """
    for prefix in ('', 'src/') + ((os.path.dirname(name) + '/',) if name.startswith('tests/') else ()):
        if os.path.isfile(os.path.join(tree.root, prefix + include)):
            return prefix + include
    return None


def may_include(folder, path, allowed):
    if path.startswith(folder + '/') or allowed == ['*']:
        return True
    short = path[4:] if path.startswith('src/') else path
    return any(short == a or short.startswith(a + '/') for a in allowed)


def check_includes(tree):
    """Includes go in the allowed directions only, library headers stay in their folders."""
    folders, libraries = read_layering(tree)
    for name in tree.code:
        folder = max((f for f in folders if name.startswith(f + '/')), key=len, default=None)
        text = strip_c(tree.text[name], literals=False)
        for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', text, flags=re.M):
            line, include = line_of(text, match.start()), match.group(2)
            for pattern, homes in libraries:
                if fnmatch.fnmatchcase(include, pattern) and not any(fnmatch.fnmatchcase(name, h) for h in homes):
                    tree.say(name, line, 'library', f'{include} may be included only in {" ".join(homes)}')
            if match.group(1) != '"' or folder is None:
                continue
            path = module_of(include, name, tree)
            if path is None:
                tree.say(name, line, 'include', f'no such header from the root or src: {include}')
            elif not may_include(folder, path, folders[folder]):
                tree.say(name, line, 'include', f'{folder} must not include {include}')


def check_calls(tree):
    """Who may end the process, start MPI, print to stdout."""
    rules = (
        (r'(?<![\w.>])(?:exit|abort|_exit|_Exit|quick_exit)\s*\(', 'exit', 'only launcher/ may end the process',
         ('launcher/', 'tests/')),
        (r'\bassert\s*\(', 'exit', 'assert() ends the process: return a dl_status', ('launcher/', 'tests/')),
        (r'(?<![\w.>])(?:printf|vprintf|puts|putchar|perror)\s*\(|\bstdout\b', 'print',
         'only launcher/ and src/train/console print to stdout', ('launcher/', 'tests/', 'src/train/console')),
        (r'\bMPI_Init(?:_thread)?\s*\(', 'mpi', 'only comm/ starts MPI', ('comm/', 'tests/')),
        (r'\b(?:cuda|cudnn|cublas|cublasLt|nccl|cu)[A-Z]\w*\s*\(', 'cuda', 'only kernels/cuda and comm/nccl call CUDA',
         ('kernels/cuda/', 'comm/nccl', 'tests/')),
        (r'\bdl_comm_mpi_create\s*\(\s*&', 'mpi', 'only launcher/bootstrap.c starts MPI',
         ('launcher/bootstrap.c', 'tests/')),
    )
    starts = []
    for name, code in tree.code.items():
        for pattern, rule, what, homes in rules:
            for match in re.finditer(pattern, code, flags=re.M):
                if not name.startswith(homes):
                    tree.say(name, line_of(code, match.start()), rule, what)
        if name.startswith('comm/'):
            starts += [(name, line_of(code, m.start())) for m in re.finditer(r'\bMPI_Init(?:_thread)?\s*\(', code)]
    for name, line in starts[1:]:
        tree.say(name, line, 'mpi', f'MPI is started in {starts[0][0]} already')


def check_kernels(tree):
    """A .cu file holds kernels, what they use, and launchers: all that others see of it is cudaError_t dl_launch_..."""
    shown = r'^(?!static\b|template\b|typedef\b|enum\b|cudaError_t dl_launch_)[A-Za-z_][^;{}()#=]*\('
    for name in (n for n in tree.code if n.endswith('.cu')):
        for match in re.finditer(shown, tree.code[name], flags=re.M):
            tree.say(name, line_of(tree.code[name], match.start()), 'cuda', 'neither static nor a dl_launch_ function')


def c_functions(code):
    """(name, first line, number of lines) of every function defined in C code without comments and literals."""
    depth, header_start, found = 0, 0, []
    for match in re.finditer(r'[{};]|^[ \t]*#(?:[^\n\\]|\\\n|\\.)*', code, flags=re.M):
        token = match.group(0)
        if token[0] not in '{};':
            header_start = match.end() if depth == 0 else header_start
        elif token == '{':
            if depth == 0:
                opened, header = header_start, code[header_start:match.start()]
            depth += 1
        elif token == '}':
            depth -= 1
            if depth == 0:
                plain = re.sub(r'__attribute__\s*\(\(.*?\)\)|\bDL_\w+\s*\([^()]*\)', ' ', header)
                name = re.search(r'(\w+)\s*\(', plain)
                if name and '=' not in plain[:name.start()] and re.search(r'\)\s*$', plain):
                    first = line_of(code, opened + len(header) - len(header.lstrip()))
                    found.append((name.group(1), first, line_of(code, match.start()) - first + 1))
                header_start = match.end()
        elif depth == 0:
            header_start = match.end()
    return found


def functions_of(tree, name):
    if name.endswith('.py'):
        nodes = [n for n in ast.walk(ast.parse(tree.text[name])) if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
        return [(n.name, n.lineno, n.end_lineno - n.lineno + 1) for n in nodes if isinstance(n, ast.FunctionDef)]
    return c_functions(tree.code[name]) if name in tree.code and not name.endswith('.def') else []


def check_sizes(tree):
    """Files, functions and lines stay short; the few exceptions are named, needed, and have a reason."""
    exceptions = {}
    for number, line in enumerate(tree.read('tests/rules/exceptions.txt').split('\n'), 1):
        words = line.split(None, 2)
        if words and not line.startswith('#'):
            if len(words) < 3 or len(words[2]) < 20:
                tree.say('tests/rules/exceptions.txt', number, 'exceptions', 'KIND, FILE and a reason are needed')
            exceptions[tuple(words[:2])] = number
    if len(exceptions) > MAX_EXCEPTIONS:
        tree.say('tests/rules/exceptions.txt', 1, 'exceptions', f'{len(exceptions)}, at most {MAX_EXCEPTIONS}')
    used = set()

    def too_long(kind, place, name, line, what):
        if (kind, place) in exceptions:
            used.add((kind, place))
        else:
            tree.say(name, line, 'size', what)

    for name, text in tree.text.items():
        lines = text.split('\n')
        if len(lines) - 1 > MAX_FILE:
            too_long('file', name, name, MAX_FILE, f'{len(lines) - 1} lines, at most {MAX_FILE}')
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_LINE:
                too_long('line', name, name, number, f'{len(line)} columns, at most {MAX_LINE}')
        for function, line, length in functions_of(tree, name):
            if length > MAX_FUNCTION:
                too_long('function', f'{name}:{function}', name, line,
                         f'{function} has {length} lines, at most {MAX_FUNCTION}')
    for key in exceptions.keys() - used:
        tree.say('tests/rules/exceptions.txt', exceptions[key], 'exceptions', f'{" ".join(key)} is not needed any more')


def check_names(tree):
    """No two headers share a base name."""
    seen = {}
    for name in tree.code:
        if not name.endswith('.h') or name.startswith('tests/'):
            continue
        base = os.path.basename(name)
        if base in seen:
            tree.say(name, 1, 'names', f'{seen[base]} has the same name')
        seen[base] = name


def initializer(code, text, symbol):
    """The text of `symbol = {...}`, or None."""
    match = re.search(r'\b' + symbol + r'\s*=\s*\{', code)
    if not match:
        return None
    depth = 0
    for i in range(match.end() - 1, len(code)):
        depth += {'{': 1, '}': -1}.get(code[i], 0)
        if depth == 0:
            return text[match.start():i + 1]
    return None


def check_tables(tree):
    """Every row of a table has its definition, in its file, with a documentation text; every file has its row."""
    for table, macro, symbol, where, own_file in TABLES:
        if table not in tree.text:
            continue
        code = tree.code[table]
        rows = [(m.group(1), line_of(code, m.start())) for m in re.finditer(
            r'^' + macro + r'\((?:[A-Z0-9_]+\s*,\s*)?([a-z0-9_]+)\b', code, flags=re.M)]
        if not rows:
            tree.say(table, 1, 'table', f'no rows {macro}(NAME)')
        for name, line in rows:
            files = [f for f in tree.matching(where.format(name)) if f in tree.code]
            found = [initializer(tree.code[f], tree.text[f], symbol.format(name)) for f in files]
            found = [f for f in found if f]
            if not found:
                tree.say(table, line, 'table', f'{symbol.format(name)} is not defined in {where.format(name)}')
            elif not re.search(r'\.doc\s*=\s*"[^"]{4}', found[0]):
                tree.say(table, line, 'table', f'{symbol.format(name)} has no documentation text (.doc)')
        if own_file:
            check_orphans(tree, table, symbol, where, {name for name, _ in rows})


def check_orphans(tree, table, symbol, where, rows):
    """A file that defines what a row would name, but has no row."""
    for file in tree.matching(where.replace('{}', '*')):
        code = tree.code.get(file, '')
        for match in re.finditer(r'^const \w+ ' + symbol.format(r'(\w+)') + r'\s*=', code, flags=re.M):
            if match.group(1) not in rows:
                tree.say(file, line_of(code, match.start()), 'table', f'no row for it in {table}')


def check_headers(tree):
    """Every header compiles alone."""
    asked = subprocess.run(['pkg-config', '--cflags', 'hdf5-serial', 'ompi-c'], stdout=subprocess.PIPE, text=True)
    words = ['gcc', '-std=c11', '-D_GNU_SOURCE', '-fsyntax-only', '-Wall', '-Wextra', '-Wpedantic', '-Wno-psabi',
             '-Werror', '-I.', '-Isrc'] + asked.stdout.split()
    headers = [n for n in tree.code if n.endswith('.h') and not n.startswith(('kernels/cuda/', 'tests/'))]

    def compile_alone(name):
        source = f'#include "{name}"\ntypedef int dl_not_empty;\n'
        return name, subprocess.run(words + ['-x', 'c', '-'], cwd=tree.root, input=source,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, done in pool.map(compile_alone, headers):
            if done.returncode != 0:
                lines = [line for line in done.stdout.split('\n') if 'error' in line]
                tree.say(name, 1, 'header', f'does not compile alone: {(lines or [done.stdout])[0]}')


def check_pipes(tree):
    """`program | grep -q` closes the pipe at the first match: with pipefail the program's SIGPIPE then counts as a
    failure, now and then. grep writing to /dev/null reads to the end."""
    for name, text in tree.text.items():
        if name.endswith('.sh') or text.startswith(('#!/bin/sh', '#!/bin/bash')):
            for match in re.finditer(r'(?<!\|)\|\s+grep\s+-\w*q', text):
                tree.say(name, line_of(text, match.start()), 'pipe', "grep -q behind a pipe; use >/dev/null")


CHECKS = (check_top, check_includes, check_calls, check_kernels, check_sizes, check_names,
          check_tables, check_headers, check_pipes)


def check(root, checks=CHECKS):
    """All problems of the tree, as lines of text."""
    tree = Tree(root)
    for function in checks:
        function(tree)
    return tree.problems


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
    problems = check(root)
    for problem in problems:
        print(problem)
    print(f'{len(problems)} problems')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
