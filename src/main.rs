//! Process entry: parse the arguments, dispatch, exit with the command's code.

/// A request is a hundred small allocations that end with it; this allocator takes a third of the system's time for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> marketgate::cli::Exit {
    marketgate::cli::main()
}
