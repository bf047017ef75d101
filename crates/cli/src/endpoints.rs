//! Reads the members of a cluster, as the option `-e` lists them.

use zraft_client::{ClientBuilder, RaftClient};

/// Returns the settings of a client for the members `node-1=tcp://127.0.0.1:7001,node-2=…`. Building the client checks the
/// addresses.
///
/// # Errors
/// A text that says which entry does not have this form. It does not show the entry, because an address may hold a
/// password.
pub fn builder(endpoints: &str) -> Result<ClientBuilder, String> {
    let mut builder =
        RaftClient::builder().capability("protocol", "kvstore").capability("version", "1.0.0");
    for (number, member) in endpoints.split(',').enumerate() {
        let Some((id, address)) = member.split_once('=') else {
            let number = number + 1;
            return Err(format!(
                "endpoint number {number} is not of the form node-1=tcp://127.0.0.1:7001"
            ));
        };
        builder = builder.member(id.trim(), address.trim());
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_a_member() {
        let endpoints = "node-1=tcp://127.0.0.1:7001, node-2 = tcp://[::1]:7002";
        let client = builder(endpoints).unwrap().build().unwrap();
        let members: Vec<_> = client.config().members().iter().map(|m| m.id.as_str()).collect();
        assert_eq!(members, ["node-1", "node-2"]);
    }

    #[test]
    fn entry_without_an_id_is_refused_and_not_shown() {
        let error = builder("node-1=tcp://127.0.0.1:7001,tcp://user:secret@host:1").unwrap_err();
        assert!(error.contains("number 2") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn invalid_address_is_refused_when_the_client_is_built() {
        for wrong in ["node-1=udp://127.0.0.1:1", "node-1=", "=tcp://127.0.0.1:1", "a=tcp://h:0x1"]
        {
            assert!(builder(wrong).unwrap().build().is_err(), "{wrong}");
        }
    }
}
