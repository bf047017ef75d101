/** The TLS settings of a client. The native half reads the certificates. */

import { types } from 'node:util';

import { ValidationError } from './errors';

/** How a client speaks TLS with the members whose endpoint begins with `tls://`. Certificates and keys are in PEM form. */
export interface TlsSettings {
  /** The certificates of the CAs that sign the members' certificates; no other CA is trusted. */
  readonly ca: string | Uint8Array;
  /** The client's own certificate, followed by those of intermediate CAs; required if the members ask for one. */
  readonly cert?: string | Uint8Array | undefined;
  /** The private key of `cert`. */
  readonly key?: string | Uint8Array | undefined;
  /** The name that the members' certificates must have, in place of the host in each endpoint. */
  readonly serverName?: string | undefined;
}

const { isUint8Array } = types;

/** The longest text or bytes of a part: the list of public CAs that systems carry is about a quarter of a mebibyte. */
const MAX_LENGTH = 4 << 20;

/** The parts of the TLS settings. */
const TLS_PARTS = ['ca', 'cert', 'key', 'serverName'];

/** @internal The TLS settings as the native half reads them. No message shows a value, which may be a key. */
export function toTls(given: unknown): Record<string, string> | undefined {
  if (given === undefined) return undefined;
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new ValidationError('tls: must be an object');
  const parts: Record<string, string> = {};
  for (const [name, value] of Object.entries(given as Readonly<Record<string, unknown>>)) {
    if (!TLS_PARTS.includes(name)) throw new ValidationError(`tls.${name}: there is no such setting`);
    if (value === undefined) continue;
    if ((typeof value === 'string' || isUint8Array(value)) && value.length > MAX_LENGTH) {
      throw new ValidationError(`tls.${name}: must not be longer than 4 MiB, and is ${value.length} long`);
    }
    if (typeof value === 'string') parts[name] = value;
    else if (name !== 'serverName' && isUint8Array(value)) parts[name] = new TextDecoder().decode(value);
    else throw new ValidationError(`tls.${name}: must be a string${name === 'serverName' ? '' : ' or a Uint8Array'}`);
  }
  return parts;
}
