//! What others do meanwhile. None of it needs more than a program that is slow, careless or hostile.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::sleep,
};

use crate::{load, proxies::Running};

/// Connections opened at once: more would meet the kernel's queue rather than the proxy.
const AT_ONCE: usize = 50;
/// Between two pieces of what drips.
const DRIP: Duration = Duration::from_secs(1);

/// One kind of load.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    connections: usize,
    /// What each connection sends at first, given the path of an account that no ordinary caller uses.
    first: fn(&str) -> Vec<u8>,
    /// What each sends again and again.
    drip: &'static [u8],
}

pub(crate) static ALL: [Attack; 6] = [
    Attack { name: "nothing", title: "nothing", connections: 0, first: |_| Vec::new(), drip: b"" },
    Attack {
        name: "uploads",
        title: "1,200 dripping uploads",
        connections: 1200,
        first: |path| {
            format!("POST {path}/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
                .into_bytes()
        },
        drip: b"x",
    },
    Attack {
        name: "heads",
        title: "1,000 dripping heads",
        connections: 1000,
        first: |path| format!("GET {path}/1 HTTP/1.1\r\nHost: localhost\r\n").into_bytes(),
        drip: b"x: y\r\n",
    },
    Attack {
        name: "long-heads",
        title: "2,000 unfinished heads of 60 KB",
        connections: 2000,
        first: |path| {
            let mut head = format!("GET {path}/1 HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
            for number in 0..15 {
                head.extend_from_slice(format!("x-{number}: {}\r\n", "y".repeat(4000)).as_bytes());
            }
            head
        },
        drip: b"",
    },
    Attack {
        name: "idle",
        title: "12,000 idle connections",
        connections: 12_000,
        first: |_| Vec::new(),
        drip: b"",
    },
    Attack {
        name: "non-readers",
        title: "400 who ask for 64 MiB and do not read",
        connections: 400,
        first: |path| format!("GET {path}/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", load::LARGE).into_bytes(),
        drip: b"",
    },
];

impl Attack {
    /// Goes on until it is dropped.
    pub(crate) async fn begin(&'static self, running: &Running) -> JoinSet<()> {
        let (mut attackers, mut opening) = (JoinSet::new(), JoinSet::new());
        let first = (self.first)(running.other_account);
        for _ in 0..self.connections {
            if opening.len() == AT_ONCE {
                attack(&mut attackers, self, opening.join_next().await);
            }
            opening.spawn_local(open(running.address, first.clone()));
        }
        while let Some(opened) = opening.join_next().await {
            attack(&mut attackers, self, Some(opened));
        }
        attackers
    }
}

type Opened = Result<Option<TcpStream>, tokio::task::JoinError>;

fn attack(attackers: &mut JoinSet<()>, attack: &'static Attack, opened: Option<Opened>) {
    let Some(Ok(Some(mut stream))) = opened else { return };
    attackers.spawn_local(async move {
        loop {
            sleep(DRIP).await;
            // Whoever was cut off stays away.
            if stream.write_all(attack.drip).await.is_err() {
                return;
            }
        }
    });
}

/// None: nobody takes it in any more.
async fn open(to: SocketAddr, first: Vec<u8>) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    // A reader who does not read: little more than this is taken for it by its kernel.
    socket.set_recv_buffer_size(4096).ok()?;
    let opening = async {
        let mut stream = socket.connect(to).await.ok()?;
        stream.write_all(&first).await.ok()?;
        Some(stream)
    };
    tokio::time::timeout(Duration::from_secs(2), opening).await.ok()?
}
