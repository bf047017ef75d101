use super::*;

fn run(bytes: &[u8]) -> (bool, Vec<Value>) {
    let mut objects = Vec::new();
    let good = read(Side::Server, bytes, |object| {
        objects.push(object);
        Ok(())
    });
    (good.unwrap(), objects)
}

fn hello(version: [u8; 2], mechanism: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    (bytes[0], bytes[9]) = (0xff, 0x7f);
    bytes[10..12].copy_from_slice(&version);
    bytes[12..12 + mechanism.len()].copy_from_slice(mechanism);
    bytes
}

/// Reads frames that follow a greeting.
fn after(frames: &[u8]) -> (bool, Vec<Value>) {
    let (good, mut objects) = run(&[&hello([3, 1], b"NULL"), frames].concat());
    assert_eq!(objects.remove(0)["zmtp"], "GREETING");
    (good, objects)
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    [&[flags, body.len() as u8], body].concat()
}

#[test]
fn greeting_commands_and_messages_are_reported_in_order() {
    let frames = [
        frame(COMMAND, b"\x05READY\x0bSocket-Type\0\0\0\x06SERVER"),
        frame(COMMAND, b"\x04PING\x01\x2cab"),
        frame(COMMAND, b"\x04PONG"),
        frame(COMMAND, b"\x05ERROR\x02no"),
        frame(COMMAND, b"\x05FUTURx"),
        frame(0, b"zraft\x01\x05\0\0\0\0\0\0\0\x07"),
    ]
    .concat();
    let (good, objects) = after(&frames);
    assert!(good);
    assert_eq!(
        objects,
        [
            json!({"zmtp": "READY", "properties": [["Socket-Type", "SERVER"]]}),
            json!({"zmtp": "PING", "ttlTenths": 300, "context": "6162"}),
            json!({"zmtp": "PONG", "context": ""}),
            json!({"zmtp": "ERROR", "reason": "no"}),
            json!({"zmtp": "FUTUR", "data": "78"}),
            json!({"type": "KeepAliveResponse", "timestamp": 7}),
        ]
    );
}

#[test]
fn invalid_frame_is_an_error_and_the_next_frame_is_read() {
    let frames = [
        frame(0, b"nonsense"),
        frame(0, b""),
        frame(COMMAND, b"\x09PING"),
        frame(COMMAND, b"\x04PING\0"),
        frame(COMMAND, b"\x05READY\xff"),
        frame(MORE, b"one"),
        frame(COMMAND, b"\x04PONG"),
    ]
    .concat();
    let (good, objects) = after(&frames);
    assert!(!good);
    assert_eq!(objects.iter().filter(|object| object.get("error").is_some()).count(), 6);
    assert_eq!(objects[6]["zmtp"], "PONG");
}

#[test]
fn capture_cut_anywhere_gives_an_error_unless_a_frame_ends_there() {
    let frames =
        [frame(COMMAND, b"\x04PONG"), frame(0, b"zraft\x01\x05\0\0\0\0\0\0\0\x07")].concat();
    let whole = [hello([3, 1], b"NULL"), frames].concat();
    for end in 0..=whole.len() {
        let (good, objects) = run(&whole[..end]);
        let ends_a_frame = [64, 71, whole.len()].contains(&end);
        assert_eq!(good, ends_a_frame, "{end}: {objects:?}");
        assert_eq!(objects.iter().any(|object| object.get("error").is_some()), !good);
    }
}

#[test]
fn announced_length_is_not_allocated_and_long_frames_are_skipped() {
    let (good, objects) = after(&[&[LONG][..], &u64::MAX.to_be_bytes(), b"little"].concat());
    assert!(!good && objects.len() == 1);

    let length = MAX_FRAME + 1;
    let mut frames = [&[LONG][..], &length.to_be_bytes()].concat();
    frames.resize(frames.len() + length as usize, 0);
    frames.extend(frame(COMMAND, b"\x04PONG"));
    let (good, objects) = after(&frames);
    assert!(!good);
    assert!(objects[0]["error"].as_str().unwrap().contains("too long"));
    assert_eq!(objects[1]["zmtp"], "PONG");
}

#[test]
fn nothing_is_read_after_an_unsupported_greeting() {
    for (greeting, word) in [(hello([2, 0], b"NULL"), "version"), (hello([3, 1], b"CURVE"), "NULL")]
    {
        let (good, objects) = run(&[greeting, frame(COMMAND, b"\x04PONG")].concat());
        assert!(!good);
        assert_eq!(objects.len(), 2);
        assert!(objects[1]["error"].as_str().unwrap().contains(word));
    }
    let (good, objects) = after(&[0x80, 0, 0]);
    assert!(!good && objects.len() == 1, "not the flags of a frame");
}

#[test]
fn any_changed_byte_is_reported_as_an_error_or_read() {
    let whole = [
        hello([3, 1], b"NULL"),
        frame(COMMAND, b"\x05READY\x0bSocket-Type\0\0\0\x06SERVER"),
        frame(COMMAND, b"\x04PING\x01\x2cab"),
        frame(0, b"zraft\x01\x05\0\0\0\0\0\0\0\x07"),
    ]
    .concat();
    for at in 0..whole.len() {
        for value in 0..=u8::MAX {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let (good, objects) = run(&bytes);
            assert_eq!(objects.iter().all(|object| object.get("error").is_none()), good);
        }
    }
}
