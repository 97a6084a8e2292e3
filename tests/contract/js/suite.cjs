/**
 * What the packages' own tests expect to find around them; mocha loads it before them.
 *
 * Requests at a wrong core are followed to the user's home by the homecore client, as in any app that
 * has no DNS. At the end, the methods of the package under test (HOMECORE_PACKAGE) that no test called
 * are told.
 */
const assert = require('node:assert/strict');
const chai = require('chai');
const chaiAsPromised = require('chai-as-promised');
const { JSDOM } = require('jsdom');
const pryv = require('pryv');
const testData = require('./test/test-data.js');

assert.ok(process.env.HOMECORE_SERVICE_INFO, 'HOMECORE_SERVICE_INFO has no URL of a core\'s service information');
chai.use(chaiAsPromised);
Object.assign(globalThis, { chai, expect: chai.expect, JSDOM, pryv, testData });

require('@pryv/monitor')(pryv);

/** By class and name. */
const uncalled = new Set();
for (const [owner, name, methods] of [
  ['pryv', 'Connection', pryv.Connection.prototype],
  ['pryv', 'Service', pryv.Service.prototype],
  ['@pryv/monitor', 'Monitor', pryv.Monitor.prototype]
]) {
  if (owner !== process.env.HOMECORE_PACKAGE) continue;
  for (const method of Object.getOwnPropertyNames(methods)) {
    const { value } = Object.getOwnPropertyDescriptor(methods, method);
    if (method === 'constructor' || method.startsWith('_') || typeof value !== 'function') continue;
    const key = `${name}.${method}`;
    uncalled.add(key);
    methods[method] = function (...params) {
      uncalled.delete(key);
      return value.apply(this, params);
    };
  }
}

exports.mochaGlobalSetup = async function () {
  const { installFetch } = await import('homecore-client');
  installFetch();
};

exports.mochaGlobalTeardown = function () {
  console.error('never called:', [...uncalled].join(' '));
};
