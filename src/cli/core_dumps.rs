//! No core dump of a process that holds secrets: it would hold all of them in the clear.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Set to anything but nothing and `0`, core dumps are left as the system makes them.
const WANTED: &str = "MARKETGATE_CORE_DUMPS";

/// From now on the process leaves no core dump, and no other process of its user may look into its memory. The limit alone
/// would not do: it does not bound what a program gets to which the kernel pipes dumps.
pub(super) fn refuse() {
    if std::env::var_os(WANTED).is_some_and(|value| !value.is_empty() && value != "0") {
        return;
    }
    let none = Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum };
    let limited = setrlimit(Resource::Core, none);
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable).and(limited) {
        super::streams::talk(format_args!(
            "warning: a crash may leave a core dump with secrets in it: {error}"
        ));
    }
}
