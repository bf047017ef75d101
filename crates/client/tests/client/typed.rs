//! Values in place of payloads: which side could not encode or decode, and that nothing undecodable is sent.

use serde::{Deserialize, Serialize};
use zraft_client::{Bytes, Error, Json, Postcard, RaftClient, TypedClient, TypedError};

use crate::support::raw::{Connection, connected};
use crate::support::{builder, within};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Command {
    Add(f64),
    /// postcard cannot read it back.
    Note(Note),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    number: u32,
}

#[derive(Debug, Serialize, Deserialize)]
enum Query {
    Sum,
}

type InJson = Json<Command, f64, Query, f64>;
type InPostcard = Postcard<Command, f64, Query, f64>;

/// Answers the next command with these bytes, and returns its payload.
async fn answer(connection: &mut Connection, bytes: &'static [u8]) -> Bytes {
    let (id, payload) = connection.command().await;
    connection.answer(id, bytes).await;
    Bytes::copy_from_slice(&payload)
}

#[tokio::test]
async fn typed_requests_carry_the_values_in_the_codec_s_form() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let typed = TypedClient::<InJson>::new(client.clone());
    let command = typed.submit_command(&Command::Add(1.5));
    let (sum, payload) = tokio::join!(within(command), answer(&mut connection, b"2.5"));
    assert_eq!((sum.unwrap(), &payload[..]), (2.5, br#"{"Add":1.5}"#.as_slice()));

    let typed = TypedClient::<InPostcard>::new(client);
    let command = typed.submit_command(&Command::Add(1.0));
    let sum = b"\0\0\0\0\0\0\xf0\x3f";
    let (sum, payload) = tokio::join!(within(command), answer(&mut connection, sum));
    assert_eq!((sum.unwrap(), &payload[..]), (1.0, b"\0\0\0\0\0\0\0\xf0\x3f".as_slice()));
}

#[tokio::test]
async fn value_that_the_server_could_not_decode_is_not_sent() {
    let (_peer, mut connection, client) = connected(builder()).await;
    // JSON has no form for it, and serde_json writes null.
    let json = TypedClient::<InJson>::new(client.clone());
    let error = within(json.submit_command(&Command::Add(f64::NAN))).await.unwrap_err();
    assert!(matches!(error, TypedError::Encode { .. }), "{error:?}");
    assert!(!error.maybe_executed());
    let text = error.to_string();
    assert!(text.starts_with("the request cannot be encoded, so nothing was sent: "), "{text}");
    let batch = [Command::Add(1.0), Command::Add(f64::INFINITY)];
    assert!(matches!(json.submit_commands(&batch), Err(TypedError::Encode { .. })));

    let postcard = TypedClient::<InPostcard>::new(client.clone());
    let note = Command::Note(Note { text: None, number: 7 });
    let error = within(postcard.submit_command(&note)).await.unwrap_err();
    assert!(matches!(error, TypedError::Encode { .. }), "{error:?}");
    // The first thing that the server sees.
    let next = json.submit_command(&Command::Add(0.0));
    let (sum, payload) = tokio::join!(within(next), answer(&mut connection, b"0"));
    assert_eq!((sum.unwrap(), &payload[..]), (0.0, br#"{"Add":0.0}"#.as_slice()));
}

#[tokio::test]
async fn answer_of_another_application_is_an_error_that_says_that_the_command_ran() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let json = TypedClient::<InJson>::new(client.clone());
    let command = Command::Add(1.0);
    let (error, _) =
        tokio::join!(within(json.submit_command(&command)), answer(&mut connection, b"{}"));
    let error = error.unwrap_err();
    assert!(matches!(error, TypedError::Decode { command: true, .. }), "{error:?}");
    assert!(error.maybe_executed());
    let text = error.to_string();
    assert!(text.starts_with("the server's answer cannot be decoded: "), "{text}");
    assert!(text.ends_with("; the command was executed"), "{text}");

    let postcard = TypedClient::<InPostcard>::new(client);
    let command = postcard.submit_command(&command);
    let (error, _) =
        tokio::join!(within(command), answer(&mut connection, b"\0\0\0\0\0\0\0\0more"));
    assert!(error.unwrap_err().to_string().contains("4 bytes are left after the value"));
}

#[tokio::test]
async fn typed_batch_has_an_outcome_for_each_command_in_order() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let typed = TypedClient::<InJson>::new(client);
    let commands: Vec<_> = (0..3).map(|number| Command::Add(f64::from(number))).collect();
    let mut outcomes = typed.submit_commands(&commands).unwrap();
    let server = tokio::spawn(async move {
        for bytes in [b"0".as_slice(), b"not JSON", b"3"] {
            answer(&mut connection, bytes).await;
        }
        connection
    });
    assert_eq!(within(outcomes.next()).await.unwrap().unwrap(), 0.0);
    let error = within(outcomes.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, TypedError::Decode { command: true, .. }), "{error:?}");
    assert_eq!(within(outcomes.next()).await.unwrap().unwrap(), 3.0);
    assert!(within(outcomes.next()).await.is_none());
    within(server).await.unwrap();
}

#[tokio::test]
async fn failure_of_the_client_is_passed_on_as_it_is() {
    let client: RaftClient = builder().member("node-1", "tcp://127.0.0.1:1").build().unwrap();
    let typed = TypedClient::<InJson>::new(client);
    let error = typed.submit_query(&Query::Sum).await.unwrap_err();
    assert!(matches!(error, TypedError::Client(Error::NotConnected)), "{error:?}");
    assert_eq!(error.to_string(), Error::NotConnected.to_string());
}
