//! What only a network can do: wires that are pulled, and what is sent and never arrives.

use tests::{End, Network, Recipe, TokenKind, skipped};

use super::Way;

/// The way, where it has a network of its own.
fn way() -> Option<Way> {
    let way = Way::on_a_network(TokenKind::Fingerprint, &Recipe::ed25519().verify_required());
    if way.env.network().is_none() {
        skipped("it takes NETWORK=namespaces to have wires to pull");
        return None;
    }
    Some(way)
}

impl Way {
    fn network(&self) -> &Network {
        self.env.network().expect("there is one")
    }

    /// It fails since this host can't be reached, of which ssh says this.
    fn does_not_reach(&self, host: &str, said: &str, arguments: &[&str], approvals: usize) -> String {
        let (code, at, told) = self.fails(arguments, approvals);
        assert_eq!((code.as_str(), at.as_str()), ("host-unreachable", host), "{told:#}");
        let what = told["cause"]["what"].as_str().unwrap();
        assert!(what.contains(said), "{what}");
        told["cause"]["next"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_wire_that_is_pulled() {
    let Some(way) = way() else { return };
    let roads = [["-J", "jump", "device"], ["-A", "jump", "device"]];
    for (end, host, approvals, said) in [
        (End::Laptop, "jump", 0, ["No route to host"; 2]),
        // sshd keeps why to itself.
        (End::Jump, "device", 1, ["connect failed", "Network is unreachable"]),
    ] {
        way.network().down(end);
        for (road, said) in roads.iter().zip(said) {
            way.does_not_reach(host, said, road, approvals);
        }
        way.network().up(end);
    }
    // Nobody answers at the other end, which takes the kernel seconds to say.
    way.network().down(End::Device);
    way.does_not_reach("device", "No route to host", &roads[0], 1);
}

/// Nobody says so, and ssh gives up after a time that the person has chosen.
#[test]
fn what_is_sent_and_never_arrives() {
    let Some(way) = way() else { return };
    way.reconfigure("Host jump\n", "Host jump\n  ConnectTimeout 1\n");
    way.network().lose_what_is_sent_to_the_jump_host();
    for road in ["-J", "-A"] {
        way.does_not_reach("jump", "Connection timed out", &[road, "jump", "device"], 0);
    }
}

/// It has no other wire.
#[test]
fn the_device_is_reached_through_the_jump_host_alone() {
    let Some(way) = way() else { return };
    let next = way.does_not_reach("device", "No route to host", &["device"], 0);
    assert!(next.contains("-J or -A"), "{next}");
}
