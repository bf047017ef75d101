//! The sessions' part of a snapshot's body. Numbers are big-endian; a map is its length and its entries in order.
//!
//! | field | bytes |
//! | --- | --- |
//! | applied index, time in ms, term | u64 each |
//! | seed of the term | 32 |
//! | settings | as in a Settings entry |
//! | history hash | u64 |
//! | number of sessions | u64 |
//! | each session | id, lowest pending id, acknowledged server request, answers, unacknowledged server requests |
//! | each answer | u64 request id, then 0, or 1 and a payload |
//! | each server request | a payload; the ids follow the acknowledged one without a gap |

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use zraft_protocol::RequestId;

use super::{RestoreError, SnapshotInput, SnapshotOutput};
use crate::{
    HistoryHash, Session, Sessions,
    entry::{SETTINGS_LEN, put_settings, read_settings},
    state::{Seed, State},
};

const NO_ANSWER: u8 = 0;
const ANSWER: u8 = 1;

pub(super) fn write(state: &State, output: &mut SnapshotOutput<'_>) -> io::Result<()> {
    // A new field fails to compile here until it is written.
    let State { applied, time, term, seed, settings, history, sessions } = state;
    output.write_u64(*applied)?;
    output.write_time(*time)?;
    output.write_u64(*term)?;
    output.write_all(&seed.0)?;
    let mut bytes = BytesMut::with_capacity(SETTINGS_LEN);
    put_settings(&mut bytes, settings);
    output.write_all(&bytes)?;
    output.write_u64(history.0)?;
    output.write_u64(sessions.len() as u64)?;
    for (id, session) in sessions.iter() {
        output.write_session_id(id)?;
        write_session(session, output)?;
    }
    Ok(())
}

fn write_session(session: &Session, output: &mut SnapshotOutput<'_>) -> io::Result<()> {
    let parts = session.parts();
    output.write_request_id(parts.lowest)?;
    output.write_request_id(parts.acknowledged)?;
    output.write_u64(parts.answers.size() as u64)?;
    for (id, answer) in parts.answers {
        output.write_request_id(*id)?;
        match answer {
            None => output.write_u8(NO_ANSWER)?,
            Some(answer) => {
                output.write_u8(ANSWER)?;
                output.write_bytes(answer)?;
            }
        }
    }
    output.write_u64(parts.waiting.size() as u64)?;
    for payload in parts.waiting.values() {
        output.write_bytes(payload)?;
    }
    Ok(())
}

pub(super) fn read(input: &mut SnapshotInput<'_>) -> Result<State, RestoreError> {
    let applied = input.read_u64()?;
    let time = input.read_time()?;
    let term = input.read_u64()?;
    let seed = Seed(input.read_array()?);
    let settings = Bytes::copy_from_slice(&input.read_array::<SETTINGS_LEN>()?);
    let settings =
        read_settings(&settings).map_err(|error| RestoreError::invalid(error.to_string()))?;
    let history = HistoryHash(input.read_u64()?);
    let mut sessions = Sessions::default();
    let count = input.read_u64()?;
    let mut last = None;
    for _ in 0..count {
        let id = input.read_session_id()?;
        // In any other order, the state would not hash to what it was read from.
        if last.as_ref().is_some_and(|last| *last >= id) {
            return Err(RestoreError::invalid("the sessions are not in order"));
        }
        last = Some(id.clone());
        sessions.insert(id, read_session(input)?);
    }
    Ok(State { applied, time, term, seed, settings, history, sessions })
}

fn read_session(input: &mut SnapshotInput<'_>) -> Result<Session, RestoreError> {
    let lowest = input.read_request_id()?;
    if lowest < RequestId::FIRST {
        return Err(RestoreError::invalid("a lowest pending id is zero"));
    }
    let mut session = Session::restored(lowest, input.read_request_id()?);
    let mut next = lowest;
    for _ in 0..input.read_u64()? {
        let id = input.read_request_id()?;
        if id < next {
            return Err(RestoreError::invalid("the answers are not in order"));
        }
        next = RequestId::new(id.get() + 1).unwrap_or(id);
        let answer = match input.read_u8()? {
            NO_ANSWER => None,
            ANSWER => Some(input.read_payload()?),
            _ => return Err(RestoreError::invalid("an answer is of no known kind")),
        };
        session.restore_answer(id, answer);
    }
    for _ in 0..input.read_u64()? {
        session
            .restore_waiting(input.read_payload()?)
            .ok_or_else(|| RestoreError::invalid("server requests are out of ids"))?;
    }
    Ok(session)
}
