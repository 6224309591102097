//! Names of hosts, and the files in which programs look for them.

use std::net::{IpAddr, SocketAddr};

use sim_core::{Node, NodeId};
use sim_net::{ip_of, raw};

/// The address of a host by its name, or by the words of an address.
pub(crate) fn resolve(host: &str) -> Option<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host == sim_core::current_node().name() {
        return Some(ip_of(sim_core::current_node()));
    }
    raw::resolve(host).ok()
}

/// The number of a service: a number in words, or one of the few names that programs use.
pub(crate) fn port_of(service: &str) -> Option<u16> {
    match service {
        "" => Some(0),
        "domain" => Some(53),
        "http" => Some(80),
        "https" => Some(443),
        number => number.parse().ok(),
    }
}

/// The name of the host at an address.
pub(crate) fn name_of(address: SocketAddr) -> Option<String> {
    if address.ip().is_loopback() {
        return Some("localhost".to_string());
    }
    all_nodes().find(|node| ip_of(*node) == address.ip()).map(Node::name)
}

fn all_nodes() -> impl Iterator<Item = Node> {
    (0..).map_while(|number| Node::from_id(NodeId(number)))
}

/// The text of a file that says something about names.
pub(crate) fn text_of(path: &str) -> Option<String> {
    let node = sim_core::current_node();
    Some(match path {
        "/etc/hostname" => format!("{}\n", node.name()),
        "/etc/hosts" => {
            let lines = all_nodes().map(|node| format!("{}\t{}\n", ip_of(node), node.name()));
            format!("127.0.0.1\tlocalhost\n::1\tlocalhost\n{}", lines.collect::<String>())
        }
        "/etc/resolv.conf" => "# Names are those of nodes; no server is asked.\nnameserver 127.0.0.53\n".to_string(),
        "/etc/nsswitch.conf" => "hosts: files\n".to_string(),
        _ => return None,
    })
}
