'use strict';
// Command line of native `solc` over npm's `solc` (the same compiler, built to WebAssembly):
//   --version | --standard-json [FILE] [--base-path DIR] [--include-path DIR]... [--allow-paths DIR,...]
// Compiler findings are part of the JSON answer and exit with 0, as in native solc; misuse and I/O failures exit with 1.
const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

const contractsRoot = process.env.GRIDLEDGER_CONTRACTS_DIR || path.resolve(__dirname, '../../../contracts');

class UsageError extends Error {}

function parseArguments(argv) {
  const options = { mode: null, inputFile: null, basePath: process.cwd(), includePaths: [], allowedPaths: [] };
  const queue = argv.flatMap((word) => (/^--[a-z-]+=/.test(word) ? [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)] : [word]));
  const valueOf = (name) => {
    if (queue.length === 0) throw new UsageError(`the required argument for option '${name}' is missing`);
    return queue.shift();
  };
  while (queue.length > 0) {
    const word = queue.shift();
    if (word === '--version' || word === '--standard-json') options.mode = word;
    else if (word === '--base-path') options.basePath = path.resolve(valueOf(word));
    else if (word === '--include-path') options.includePaths.push(path.resolve(valueOf(word)));
    else if (word === '--allow-paths') options.allowedPaths.push(...valueOf(word).split(',').filter(Boolean).map((dir) => path.resolve(dir)));
    else if (word === '-') options.inputFile = null;
    else if (word.startsWith('-')) throw new UsageError(`unrecognised option '${word}'`);
    else options.inputFile = word;
  }
  if (options.mode === null) throw new UsageError('only --version and --standard-json are supported');
  return options;
}

function isInside(file, directory) {
  const relative = path.relative(directory, file);
  return relative !== '..' && !relative.startsWith('..' + path.sep) && !path.isAbsolute(relative);
}

/** Resolves a source unit name as solc does: base path first, then include paths; never outside the allowed folders. */
function importReader({ basePath, includePaths, allowedPaths }) {
  const roots = [basePath, ...includePaths];
  const allowed = [...roots, ...allowedPaths].filter((dir) => fs.existsSync(dir)).map((dir) => fs.realpathSync(dir));
  return (sourceUnit) => {
    for (const root of roots) {
      const candidate = path.resolve(root, sourceUnit);
      if (!fs.existsSync(candidate) || !fs.statSync(candidate).isFile()) continue;
      if (!allowed.some((dir) => isInside(fs.realpathSync(candidate), dir))) return { error: `File outside of allowed directories: ${sourceUnit}` };
      return { contents: fs.readFileSync(candidate, 'utf8') };
    }
    return { error: `File not found: ${sourceUnit}` };
  };
}

/** Writes everything before returning: process.exit must not cut an answer of several megabytes on a full pipe. */
function writeFully(descriptor, text) {
  const bytes = Buffer.from(text, 'utf8');
  for (let written = 0; written < bytes.length; ) {
    try {
      written += fs.writeSync(descriptor, bytes, written);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

function loadCompiler() {
  return createRequire(path.join(contractsRoot, 'package.json'))('solc');
}

function main() {
  const options = parseArguments(process.argv.slice(2));
  if (options.mode === '--version') {
    return `solc, the solidity compiler commandline interface\nVersion: ${loadCompiler().version()}\n`;
  }
  const input = fs.readFileSync(options.inputFile === null ? 0 : options.inputFile, 'utf8');
  return loadCompiler().compile(input, { import: importReader(options) }) + '\n';
}

try {
  writeFully(1, main());
  process.exitCode = 0;
} catch (error) {
  writeFully(2, `${error instanceof UsageError ? error.message : error.stack}\n`);
  process.exitCode = 1;
}
