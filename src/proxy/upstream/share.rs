//! What one caller has under way for one account, on one worker. The one rule: counted from the moment a request is put on a
//! connection until its exchange has ended, one way or another.

use std::{cell::Cell, rc::Rc};

/// One caller's part of an account's connections.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) caller: u32,
    in_use: Cell<usize>,
}

impl Share {
    pub(super) fn new(caller: u32) -> Rc<Self> {
        Rc::new(Self { caller, in_use: Cell::new(0) })
    }

    /// Exchanges under way.
    pub(super) fn in_use(&self) -> usize {
        self.in_use.get()
    }
}

/// One exchange under way.
#[derive(Debug)]
pub(super) struct InUse(Rc<Share>);

impl InUse {
    pub(super) fn begin(share: &Rc<Share>) -> Self {
        share.in_use.set(share.in_use.get() + 1);
        Self(share.clone())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.in_use.set(self.0.in_use.get() - 1);
    }
}
