//! Process entry: parse the arguments, dispatch, exit with the command's code.

fn main() -> marketgate::cli::Exit {
    marketgate::cli::main()
}
