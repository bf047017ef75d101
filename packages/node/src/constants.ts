/** Numbers of the wire protocol. */

/** The first bytes of every message: "zraft". */
export const PROTOCOL_SIGNATURE: Buffer = Buffer.from([0x7a, 0x72, 0x61, 0x66, 0x74]);

/** The version of the protocol: the byte after the signature. */
export const PROTOCOL_VERSION: number = 1;

/** Codes of the reasons for which a server rejects a session. */
export enum RejectionReasonCode {
  NotLeader = 1,
  SessionExpired = 2,
  InvalidCapabilities = 3,
  Other = 4,
}

/** Codes of the reasons for which a server closes a session's connection. */
export enum SessionCloseReasonCode {
  Shutdown = 1,
  NotLeaderAnymore = 2,
  SessionError = 3,
  ConnectionClosed = 4,
  SessionExpired = 5,
}

/** Codes of the reasons for which a client closes its session. */
export enum CloseReasonCode {
  ClientShutdown = 1,
}

/** Codes of the reasons for which a command has no answer. */
export enum RequestErrorReasonCode {
  ResponseEvicted = 1,
}
