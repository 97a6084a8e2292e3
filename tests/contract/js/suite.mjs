/**
 * Runs the tests that the official packages bring along, against a core.
 *
 * Takes the URL of the core's service information. Prints a line a package; ends with 1 if a test
 * fails, if fewer ran than the packages have, or if other methods were not called than are known.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Package, its test files, how many tests of them must pass, and the methods that none of them calls. */
const SUITES = [
  // `revoke` is called by consent.mjs; there are no series yet.
  ['pryv', ['test/*.test.js'], 164, ['Connection.revoke', 'Connection.addPointsToHFEvent']],
  // In the order in which they expect each other. The fourth file is about Socket.IO.
  ['@pryv/monitor', ['test/monitor-edge-cases.test.js', 'test/monitor.test.js', 'test/timer.test.js'], 22, []]
];

const serviceInfo = process.argv[2];
if (serviceInfo === undefined) {
  console.error('usage: node suite.mjs http://…/reg/service/info');
  process.exit(2);
}
const here = name => fileURLToPath(new URL(name, import.meta.url));

for (const [name, files, least, expected] of SUITES) {
  const ran = spawnSync(process.execPath, [
    here('node_modules/mocha/bin/mocha.js'),
    // Some of them race with answers that are still under way on a busy machine.
    '--retries', '2',
    '--exit', '--reporter', 'json', '--require', here('suite.cjs'),
    ...files
  ], {
    // They look for files from here.
    cwd: here(`node_modules/${name}`),
    encoding: 'utf8',
    env: { ...process.env, HOMECORE_SERVICE_INFO: serviceInfo, HOMECORE_PACKAGE: name },
    maxBuffer: 64 * 1024 * 1024,
    timeout: 120_000
  });
  // The tests write to standard output, too: the report is what comes last.
  const report = JSON.parse(ran.stdout.slice(ran.stdout.lastIndexOf('\n{\n  "stats"')));
  for (const { fullTitle, err } of report.failures) console.error(`${fullTitle}\n${err.stack ?? err.message}\n`);
  const { passes, failures, pending } = report.stats;
  const uncalled = /^never called: (.*)$/m.exec(ran.stderr)?.[1].split(' ').filter(Boolean);
  console.log(JSON.stringify({ package: name, passes, failures, pending, uncalled }));
  const complete = JSON.stringify(uncalled) === JSON.stringify(expected);
  if (failures > 0 || passes < least || !complete || ran.status !== 0) {
    console.error(ran.stderr);
    process.exit(1);
  }
}
