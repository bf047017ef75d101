/**
 * A server over real TCP that follows a script, for behaviour that no correct cluster shows. It speaks just enough ZMTP for a
 * CLIENT without security.
 */

import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';

import { onTestFinished } from 'vitest';
import { ClientMessageType, PROTOCOL_SIGNATURE, PROTOCOL_VERSION, ServerMessageType } from 'zraft-client';

const COMMAND = 4;
const LONG = 2;
const SESSION = '00000000-0000-4000-8000-000000000001';

/** A message of the client, as far as scripts need it. */
export interface Received {
  readonly kind: ClientMessageType;
  /** The bytes after the kind. */
  readonly fields: Buffer;
}

/** One connection as the server sees it. */
export class Connection {
  constructor(readonly socket: Socket) {}

  /** Sends a message of the protocol. */
  send(kind: ServerMessageType, ...fields: (Buffer | string)[]): void {
    this.sendFrame(
      Buffer.concat([PROTOCOL_SIGNATURE, Buffer.from([PROTOCOL_VERSION, kind]), ...fields.map((field) => Buffer.from(field))]),
    );
  }

  /** Sends any frame. */
  sendFrame(body: Buffer): void {
    const header = Buffer.alloc(9);
    header[0] = LONG;
    header.writeBigUInt64BE(BigInt(body.length), 1);
    this.socket.write(Buffer.concat([header, body]));
  }

  /** Answers a CreateSession or ContinueSession. */
  welcome({ kind, fields }: Received): void {
    const nonce = fields.subarray(-8);
    if (kind === ClientMessageType.CreateSession)
      this.send(ServerMessageType.SessionCreated, Buffer.from([SESSION.length]), SESSION, nonce);
    else this.send(ServerMessageType.SessionContinued, nonce);
  }
}

/** Handles a message. The server sends nothing else. */
export type Script = (message: Received, connection: Connection) => void;

/** Answers session messages and KeepAlives as a server does, and leaves other messages to `script`. */
export function afterWelcome(script: Script): Script {
  return (message, connection) => {
    if (message.kind === ClientMessageType.CreateSession || message.kind === ClientMessageType.ContinueSession) connection.welcome(message);
    else if (message.kind === ClientMessageType.KeepAlive) connection.send(ServerMessageType.KeepAliveResponse, message.fields);
    else script(message, connection);
  };
}

/** Starts a scripted server that ends with the test. */
export async function startPeer(script: Script): Promise<{ clusterMembers: Record<string, string>; endpoint: string }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket, script);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const endpoint = `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { clusterMembers: { 'node-1': endpoint }, endpoint };
}

function serve(socket: Socket, script: Script): void {
  const connection = new Connection(socket);
  let rest = Buffer.alloc(0);
  let greeted = false;
  socket.write(greeting());
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data]);
    if (!greeted && rest.length >= 64) {
      greeted = true;
      rest = rest.subarray(64);
      socket.write(
        command('READY', Buffer.concat([Buffer.from([11]), Buffer.from('Socket-Type'), Buffer.from([0, 0, 0, 6]), Buffer.from('SERVER')])),
      );
    }
    while (greeted) {
      const frame = readFrame(rest);
      if (frame === undefined) return;
      rest = rest.subarray(frame.end);
      if (frame.isCommand) {
        if (frame.body.subarray(1, 5).toString() === 'PING') socket.write(command('PONG', frame.body.subarray(7)));
      } else {
        script({ kind: frame.body[6] as number, fields: frame.body.subarray(7) }, connection);
      }
    }
  });
}

function greeting(): Buffer {
  const bytes = Buffer.alloc(64);
  bytes[0] = 0xff;
  bytes[8] = 1;
  bytes[9] = 0x7f;
  bytes[10] = 3;
  bytes[11] = 1;
  bytes.write('NULL', 12);
  bytes[32] = 1;
  return bytes;
}

function command(name: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from([name.length]), Buffer.from(name), data]);
  return Buffer.concat([Buffer.from([COMMAND, body.length]), body]);
}

function readFrame(bytes: Buffer): { isCommand: boolean; body: Buffer; end: number } | undefined {
  if (bytes.length < 2) return undefined;
  const flags = bytes[0] as number;
  const isLong = (flags & LONG) !== 0;
  const start = isLong ? 9 : 2;
  if (bytes.length < start) return undefined;
  const end = start + (isLong ? Number(bytes.readBigUInt64BE(1)) : (bytes[1] as number));
  if (bytes.length < end) return undefined;
  return { isCommand: (flags & COMMAND) !== 0, body: bytes.subarray(start, end), end };
}
