//! A way to a server on which its answers can be held back. The one rule: what is held arrives whole and unchanged as soon
//! as it is let go.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
};

use crate::program::PATIENCE;

/// Stands between a client and a server, for as long as the test runs.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    barrier: Arc<Barrier>,
}

#[derive(Default)]
struct Barrier {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// Answers that have arrived at the barrier and wait there.
    waiting: usize,
}

impl Relay {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let barrier = Arc::new(Barrier::default());
        let shared = barrier.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(server) else { return };
                let barrier = shared.clone();
                let (asking, answering) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(asking, server, || {}));
                std::thread::spawn(move || pass(answering, client, || barrier.wait()));
            }
        });
        Self { address, barrier }
    }

    /// Keeps answers back from now on.
    pub(crate) fn hold(&self) {
        self.barrier.state.lock().unwrap().closed = true;
    }

    /// Waits until an answer is being held: the server has done what it was asked, and nobody knows.
    pub(crate) fn until_held(&self) {
        let state = self.barrier.state.lock().unwrap();
        let none = |state: &mut State| state.waiting == 0;
        let (_state, timeout) = self.barrier.changed.wait_timeout_while(state, PATIENCE, none).unwrap();
        assert!(!timeout.timed_out(), "no answer came");
    }

    /// Lets go what is held and holds nothing any more.
    pub(crate) fn release(&self) {
        self.barrier.state.lock().unwrap().closed = false;
        self.barrier.changed.notify_all();
    }
}

impl Barrier {
    fn wait(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.closed).unwrap();
        state.waiting -= 1;
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, before: impl Fn()) {
    let mut bytes = [0; 65536];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        before();
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    // Whoever has gone already need not be told.
    let _ = to.shutdown(Shutdown::Write);
}
