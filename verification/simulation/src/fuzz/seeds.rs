//! What the corpora begin with: the messages of `testdata/vectors.jsonl`, the streams of `testdata/captures`, and scripts
//! in which everything goes well.

use std::{fs, io, path::Path};

use super::{
    bytes_of_peer::{GREETING, frame, handshake},
    seeds_of_members::members,
};

/// One file of a corpus: the target, the file's name and its bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// All seeds, made from the test data in this folder.
///
/// # Errors
/// When a file cannot be read.
pub fn seeds(testdata: &Path) -> io::Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    vectors(&fs::read_to_string(testdata.join("vectors.jsonl"))?, &mut seeds);
    captures(&testdata.join("captures"), &mut seeds)?;
    handshakes(&mut seeds);
    scripts(&mut seeds);
    endpoints(&mut seeds);
    members(testdata, &mut seeds)?;
    Ok(seeds)
}

/// One message of each kind and size class, and the same as frames of a stream.
fn vectors(text: &str, seeds: &mut Vec<Seed>) {
    let mut streams = [Vec::new(), Vec::new()];
    let mut kept = std::collections::BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let server = line.contains("\"from\": \"server\"");
        let Some(bytes) = hex_of(line) else { continue };
        // Kind, whether an optional id is there, and the length by powers of four.
        let class = (server, bytes[6], bytes.len().ilog2() / 2, bytes.last() == Some(&0));
        if !kept.insert(class) || bytes.len() > 2000 {
            continue;
        }
        let target = if server { "server_codec" } else { "client_codec" };
        seeds.push((target, format!("vector-{number}"), [&[0], &bytes[..]].concat()));
        streams[usize::from(server)].extend_from_slice(&frame(0, &bytes));
    }
    for (options, stream) in [(1, &streams[0]), (0, &streams[1])] {
        let name = if options == 1 { "vectors-to-server" } else { "vectors-to-client" };
        for frames in [0, 2, 4 | 16, 6] {
            let seed = [&[options | frames, 7], &stream[..]].concat();
            seeds.push(("frames", format!("{name}-{frames}"), seed));
        }
    }
}

/// The value of `hex`, the last field of a vector.
fn hex_of(line: &str) -> Option<Vec<u8>> {
    let digits = line.rsplit_once("\"hex\": \"")?.1.split_once('"')?.0;
    let digit = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(digit).collect()
}

/// What was captured: the handshake, and the first frames after it.
fn captures(folder: &Path, seeds: &mut Vec<Seed>) -> io::Result<()> {
    let mut paths: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "bin"));
    paths.sort();
    for path in paths {
        let bytes = fs::read(&path)?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let to_server = u8::from(name.ends_with("c2s"));
        // READY is a short command.
        let ready = GREETING + 2 + usize::from(bytes[GREETING + 1]);
        let greeting = [&[to_server, 3], &bytes[..ready]].concat();
        seeds.push(("greeting", name.clone(), greeting));
        let frames = &bytes[ready..bytes.len().min(ready + 1500)];
        seeds.push(("frames", name.clone(), [&[to_server | 4, 5], frames].concat()));
        if to_server == 1 {
            // Open a connection and let the captured bytes come in.
            let mut script = vec![1, 0, 0, 0];
            for piece in bytes[..bytes.len().min(ready + 1000)].chunks(24) {
                script.extend_from_slice(&[2, 0, piece.len() as u8]);
                script.extend_from_slice(piece);
                script.extend_from_slice(&[13, 20]);
            }
            seeds.push(("server", name, script));
        }
    }
    Ok(())
}

fn handshakes(seeds: &mut Vec<Seed>) {
    for (options, socket_type) in [(0, "SERVER"), (1, "CLIENT"), (0, "ROUTER"), (3, "CLIENT")] {
        let seed = [&[options, 2], &handshake(socket_type)[..]].concat();
        seeds.push(("greeting", format!("{}-{options}", socket_type.to_lowercase()), seed));
    }
    // Versions before and after ours.
    for major in [1, 2, 4] {
        let mut seed = [&[0, 2], &handshake("SERVER")[..]].concat();
        seed[2 + 10] = major;
        seeds.push(("greeting", format!("version-{major}"), seed));
    }
}

/// Scripts in the terms of the targets `machine` and `server`, in which a session comes about and serves.
fn scripts(seeds: &mut Vec<Seed>) {
    // connect(), the socket opens, the member shakes hands and creates the session.
    let session: &[u8] = &[7, 0, 8, 0, 10, 12, 0, 0];
    let work: &[u8] = &[0, 0, 9, 0, 0, 9, 4, 0, 9, 12, 0, 11, 1, 12, 0, 20, 0, 2];
    let pushed: &[u8] = &[12, 0, 18, 1, 22, 3, 23, 40];
    // Pushed, lost, and pushed once more under the same id.
    let again: &[u8] =
        &[12, 0, 18, 1, 22, 3, 21, 0, 8, 0, 10, 12, 0, 0, 12, 0, 16, 1, 1, 22, 3, 23, 40];
    let lost: &[u8] = &[0, 0, 9, 21, 0, 8, 0, 10, 12, 0, 0, 26, 4, 12, 0, 11, 1];
    let told: &[u8] = &[0, 0, 9, 12, 0, 8, 1, 4, 8, 0, 10, 12, 0, 0, 12, 0, 11, 3];
    let expired: &[u8] = &[0, 0, 9, 12, 0, 8, 4, 0, 7, 0, 8, 0, 10, 12, 0, 0, 0, 0, 9];
    let too_long: &[u8] = &[0, 0, 9, 19, 1, 0, 19, 1, 1, 22, 1, 23, 40];
    let slow: &[u8] = &[29, 90, 0, 0, 99, 0, 0, 99, 23, 99, 29, 250, 12, 0, 11, 1];
    let stopped: &[u8] = &[0, 129, 9, 28, 20, 0, 12, 0, 9, 12, 0, 11, 1, 26, 200];
    let silent: &[u8] = &[0, 0, 9, 26, 40, 12, 0, 9, 26, 40, 26, 255, 8, 0, 10, 12, 0, 0];
    // The window is full, one that waits is given up, and new ones go.
    let given_up: &[u8] = &[
        0, 0, 9, 0, 0, 9, 0, 0, 9, 0, 0, 9, 6, 0, 12, 0, 11, 1, 12, 0, 11, 1, 12, 0, 11, 1, 0, 0, 9,
    ];
    let closed: &[u8] = &[7, 4, 26, 8, 21, 0];
    let parts = [
        ("work", work),
        ("pushed", pushed),
        ("pushed-again", again),
        ("lost", lost),
        ("told", told),
        ("expired", expired),
        ("too-long", too_long),
        ("slow", slow),
        ("stopped", stopped),
        ("silent", silent),
        ("given-up", given_up),
        ("closed", closed),
    ];
    for options in [0, 1, 2, 12] {
        for (name, part) in parts {
            let script = [&[options, 9], session, work, part, work].concat();
            seeds.push(("machine", format!("{name}-{options}"), script));
        }
    }
    // Open a connection that shakes hands, create a session, let time pass, and ask.
    let open: &[u8] = &[0, 1, 0, 5, 0, 1, 0, 13, 5];
    let commands: &[u8] =
        &[5, 0, 1, 4, 1, 1, 0, 5, 0, 1, 4, 2, 2, 0, 13, 50, 5, 0, 1, 11, 7, 2, 13, 50];
    let resumed: &[u8] = &[0, 1, 0, 5, 0, 2, 2, 0, 5, 0, 1, 4, 2, 1, 0, 13, 50];
    let fault: &[u8] = &[17, 0, 4, 15, 1, 0, 0, 1, 1, 5, 0, 2, 2, 0, 13, 50];
    let watch: &[u8] =
        &[5, 0, 1, 4, 3, 1, 1, 5, 0, 1, 4, 4, 2, 0, 13, 50, 15, 20, 0, 5, 0, 1, 8, 1];
    let undecodable: &[u8] = &[4, 0, 5, 4, 0, 0, 0, 0, 13, 9];
    for (name, part) in [
        ("commands", commands),
        ("resumed", resumed),
        ("fault", fault),
        ("watch", watch),
        ("undecodable", undecodable),
    ] {
        for options in [0, 1, 3] {
            let script = [&[options], open, commands, part, commands].concat();
            seeds.push(("server", format!("{name}-{options}"), script));
        }
    }
}

fn endpoints(seeds: &mut Vec<Seed>) {
    let texts = [
        "tcp://localhost:7001",
        "tcp://127.0.0.1:65535",
        "tcp://[::1]:1",
        "tcp://[2001:db8:0:0:0:0:0:1]:7001",
        "tcp://[::ffff:10.0.0.1]:7001",
        "tcp://a-b.c_d.example.:80",
        "tcp://xn--nxasmq6b.example:80",
        "tcp://user:secret@host:1",
        "tcp://1.2.3:1",
        "tcp://host:0",
        "tcp://host:+1",
        "tcp://host:1/path?query#fragment",
        "tcp://*:7001",
        "tcp://[fe80::1%eth0]:1",
        "ipc:///tmp/zraft.sock",
        "ipc://relative/path",
        "ipc://@abstract",
        "ipc://*",
        "TCP://host:1",
        "udp://host:1",
    ];
    for (number, text) in texts.into_iter().enumerate() {
        seeds.push(("endpoint", format!("text-{number}"), text.into()));
    }
}
