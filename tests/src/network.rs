//! A network whose hosts have addresses of their own, and which can be pulled apart: laptop – jump host – device.
//!
//! The jump host and the device are network namespaces of the kernel; the laptop is where the tests run. Nothing forwards
//! between the two wires, so the device is reached from the jump host alone, as a device is by its console network.

use std::fs::File;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// These networks are for examples only (RFC 5737), and nobody's own.
const OUTSIDE: [u8; 3] = [203, 0, 113];
const INSIDE: [u8; 3] = [198, 51, 100];

/// The wires of a scenario, with the namespaces that they lead to. All is gone when it is dropped.
pub struct Network {
    /// The number of the small network between laptop and jump host: the only one that others could see.
    number: u8,
    jump: String,
    device: String,
    /// The laptop's end of the wire to the jump host.
    laptop: String,
}

/// The end of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The laptop's, to the jump host.
    Laptop,
    /// The jump host's, to the device.
    Jump,
    /// The device's, to the jump host.
    Device,
}

impl Network {
    /// It takes root, `ip` (Debian: package iproute2) and the kernel's module veth.
    pub(crate) fn lay() -> Self {
        static LAID: AtomicU32 = AtomicU32::new(0);
        let number = LAID.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let network = Self {
            number: u8::try_from(number % 64).expect("it is below 64"),
            jump: format!("jump-{name}"),
            device: format!("device-{name}"),
            laptop: format!("e2e{name}"),
        };
        let Self { jump, device, laptop, .. } = &network;
        ip(
            &[],
            &format!(
                "netns add {jump}
                netns add {device}
                link add {laptop} type veth peer outside netns {jump}
                link add inside netns {jump} type veth peer inside netns {device}
                address add {}/30 dev {laptop}
                link set {laptop} up
                {}",
                network.outside(1),
                network.no_other_way("add"),
            ),
        );
        ip(
            &["-n", jump],
            &format!(
                "address add {}/30 dev outside
                address add {}/30 dev inside
                link set lo up
                link set outside up
                link set inside up",
                network.outside(2),
                inside(1)
            ),
        );
        ip(&["-n", device], &format!("address add {}/30 dev inside\nlink set lo up\nlink set inside up", inside(2)));
        network
    }

    /// Whatever else the laptop is connected to, nothing gets to these hosts by that.
    fn no_other_way(&self, change: &str) -> String {
        let Self { number, .. } = self;
        let line = |network: Ipv4Addr| {
            format!("route {change} unreachable {network}/30 metric {}\n", 1000 + u32::from(*number))
        };
        line(self.outside(0)) + &line(inside(0))
    }

    /// An address in the network between laptop and jump host, which has two.
    fn outside(&self, host: u8) -> Ipv4Addr {
        let [a, b, c] = OUTSIDE;
        Ipv4Addr::new(a, b, c, self.number * 4 + host)
    }

    /// Where the host of this name is, if it is in this network.
    pub(crate) fn site(&self, host: &str) -> Option<Site> {
        let (namespace, address) = match host {
            "jump" => (&self.jump, self.outside(2)),
            "device" => (&self.device, inside(2)),
            _ => return None,
        };
        Some(Site { namespace: Some(format!("/run/netns/{namespace}")), address, port: 22 })
    }

    /// Takes an end of a wire down: who sends from there is told so by the kernel, and what comes from the other end is lost.
    pub fn down(&self, end: End) {
        self.set(end, "down");
    }

    /// And up again.
    pub fn up(&self, end: End) {
        self.set(end, "up");
    }

    fn set(&self, end: End, state: &str) {
        let (namespace, link) = match end {
            End::Laptop => (None, self.laptop.as_str()),
            End::Jump => (Some(&self.jump), "inside"),
            End::Device => (Some(&self.device), "inside"),
        };
        let namespace: Vec<_> = namespace.iter().flat_map(|name| ["-n", name.as_str()]).collect();
        ip(&namespace, &format!("link set {link} {state}"));
    }

    /// Has what the laptop sends to the jump host vanish, with no word from anybody.
    pub fn lose_what_is_sent_to_the_jump_host(&self) {
        // There is nobody at that end who has this address.
        let nobody = "02:00:00:00:00:01";
        ip(&[], &format!("neighbour replace {} lladdr {nobody} dev {} nud permanent", self.outside(2), self.laptop));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let Self { jump, device, laptop, .. } = &*self;
        // The wire goes with its end, though a host's process may keep its namespace for a moment.
        let lines = format!(
            "link delete {laptop}\nnetns delete {jump}\nnetns delete {device}\n{}",
            self.no_other_way("delete")
        );
        // A scenario that fails is not to fail once more here.
        let _ = run(&["-force"], &lines);
    }
}

/// Where a host listens.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The file of its network namespace; None where it is in the tests' own.
    namespace: Option<String>,
    pub(crate) address: Ipv4Addr,
    /// 0 for one that is free.
    pub(crate) port: u16,
}

impl Site {
    /// On the loopback network.
    pub(crate) fn loopback() -> Self {
        Self { namespace: None, address: Ipv4Addr::LOCALHOST, port: 0 }
    }

    /// This thread is there from now on, and so is what it starts.
    pub(crate) fn enter(&self) {
        let Some(namespace) = &self.namespace else { return };
        let namespace = File::open(namespace).expect("the network has made it");
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter it");
    }
}

/// Does what these lines say, each as `ip` takes it.
fn ip(options: &[&str], lines: &str) {
    let ended = run(options, lines).expect("ip runs (Debian: package iproute2)");
    assert!(ended.success(), "ip {options:?}: {lines}");
}

fn run(options: &[&str], lines: &str) -> io::Result<ExitStatus> {
    let mut ip = Command::new("ip").args(options).args(["-batch", "-"]).stdin(Stdio::piped()).spawn()?;
    ip.stdin.take().expect("it is a pipe").write_all(lines.as_bytes())?;
    ip.wait()
}

fn inside(host: u8) -> Ipv4Addr {
    let [a, b, c] = INSIDE;
    Ipv4Addr::new(a, b, c, host)
}
