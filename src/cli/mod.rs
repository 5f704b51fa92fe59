//! The commands. The one rule: stdout is data, stderr is talk, and the exit code says whose turn it is.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::telemetry;

pub mod accounts;
pub mod admin_client;
pub mod caller;
pub mod check;
mod core_dumps;
pub mod demo;
pub mod explain;
pub mod export;
pub mod failure;
pub mod health;
mod help;
pub mod import;
pub mod init;
pub mod keyboard;
pub mod login;
pub mod logout;
pub mod opening;
pub mod place;
pub mod progress;
pub mod remote;
pub mod run;
pub mod service;
pub mod session;
pub mod signals;
pub mod sim;
pub mod status;
pub mod stop;
pub mod store;
pub mod streams;
pub mod table;
pub mod token;
pub mod version;
pub mod wait;

pub use failure::{Exit, Failure};
pub use place::Place;

/// An authenticating reverse proxy for marketplace APIs: programs send plain requests, Marketgate puts a fresh token on each.
#[derive(Debug, Parser)]
#[command(name = "marketgate", version, max_term_width = 100, after_help = help::MAIN)]
pub struct Arguments {
    /// Configuration file [default: $MARKETGATE_CONFIG, ./proxy.toml, the user's, /etc/marketgate/proxy.toml]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How data and errors are printed: text or json
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Text, value_name = "FORM", hide_possible_values = true)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

/// How read commands print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: the proxy door and the admin door
    #[command(visible_alias = "serve", after_help = help::RUN)]
    Run,
    /// End the running Marketgate in order, and wait for its end
    #[command(after_help = help::STOP)]
    Stop(stop::StopArguments),
    /// Try it without credentials: simulated marketplaces behind a proxy
    #[command(after_help = help::DEMO)]
    Demo(demo::DemoArguments),
    /// Only the simulated marketplaces, for tests of your own programs
    #[command(after_help = help::SIM)]
    Sim(sim::SimArguments),
    /// Say everything that is wrong with the configuration
    #[command(visible_alias = "validate", after_help = help::CHECK)]
    Check(check::CheckArguments),
    /// Write a commented configuration for the marketplaces you choose
    #[command(after_help = help::INIT)]
    Init(init::InitArguments),
    /// Connect a seller: open the marketplace's consent page and take the answer
    #[command(after_help = help::LOGIN)]
    Login(login::LoginArguments),
    /// End an account's connection and have the marketplace revoke its grant where it can
    #[command(after_help = help::LOGOUT)]
    Logout(logout::LogoutArguments),
    /// List accounts; show, refresh, resume or remove one
    #[command(after_help = help::ACCOUNTS)]
    Accounts(accounts::AccountsArguments),
    /// Take in a refresh token, key pair or key, or a file of many
    #[command(after_help = help::IMPORT)]
    Import(import::ImportArguments),
    /// Hand the grant of an account out into a file, and spend it here no more
    #[command(after_help = help::EXPORT)]
    Export(export::ExportArguments),
    /// Print a valid access token, and nothing else
    #[command(after_help = help::TOKEN)]
    Token(token::TokenArguments),
    /// Show how the accounts are
    #[command(after_help = help::STATUS)]
    Status(status::StatusArguments),
    /// Show what would be sent where for a request, without sending it
    #[command(after_help = help::EXPLAIN)]
    Explain(explain::ExplainArguments),
    /// Make a key for a program that may call the proxy
    #[command(after_help = help::CALLER)]
    Caller(caller::CallerArguments),
    /// Wait until the running Marketgate is ready, or an account has a token
    #[command(after_help = help::WAIT)]
    Wait(wait::WaitArguments),
    /// Ask the running Marketgate whether it is well (for container health checks)
    #[command(after_help = help::HEALTH)]
    Health(health::HealthArguments),
    /// Copy the store, bring a copy back, or seal it with another key
    #[command(after_help = help::STORE)]
    Store(store::StoreArguments),
    /// Print the version, and that of the running Marketgate
    #[command(after_help = help::VERSION)]
    Version(session::ServerArguments),
    /// Print the manual page
    #[command(after_help = help::MAN)]
    Man,
    /// Print a completion script
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Parses the process's arguments, runs the command and gives its exit code.
pub fn main() -> Exit {
    core_dumps::refuse();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(misuse) => return tell_misuse(&misuse),
    };
    if arguments.output == Output::Json {
        streams::tell_errors_as_data();
    }
    let place = Place { config: arguments.config, output: arguments.output };
    let outcome = match arguments.command {
        Command::Run => run::run(&place),
        Command::Demo(a) => demo::run(&a),
        Command::Sim(a) => sim::run(&a),
        Command::Check(a) => check::run(&place, &a),
        Command::Stop(a) => stop::run(&place, &a),
        Command::Init(a) => init::run(&place, &a),
        Command::Login(a) => login::run(&place, &a),
        Command::Logout(a) => logout::run(&place, &a),
        Command::Accounts(a) => accounts::run(&place, &a),
        Command::Import(a) => import::run(&place, &a),
        Command::Export(a) => export::run(&place, &a),
        Command::Token(a) => token::run(&place, &a),
        Command::Status(a) => status::run(&place, &a),
        Command::Explain(a) => explain::run(&place, &a),
        Command::Caller(a) => caller::run(&a),
        Command::Wait(a) => wait::run(&place, &a),
        Command::Health(a) => health::run(&place, &a),
        Command::Store(a) => store::run(&place, &a),
        Command::Version(a) => version::run(&place, &a),
        Command::Man => manual(),
        Command::Completions { shell } => completions(shell),
    };
    let outcome = outcome.and_then(|()| match streams::lost() {
        None => Ok(()),
        Some(why) => Err(Failure::new(Exit::Failure, format!("the output could not be written: {why}"))),
    });
    let exit = match outcome {
        Ok(()) => Exit::Ok,
        Err(failure) => failure.report(),
    };
    telemetry::flush();
    exit
}

/// Tells what is wrong with the command line, or the help that was asked for.
fn tell_misuse(misuse: &clap::Error) -> Exit {
    if !misuse.use_stderr() {
        drop(misuse.print());
        return Exit::Ok;
    }
    let arguments: Vec<String> = std::env::args().collect();
    let asks_for_data = |pair: &[String]| matches!(pair[0].as_str(), "-o" | "--output") && pair[1] == "json";
    let is_short = |argument: &String| matches!(argument.as_str(), "-ojson" | "-o=json" | "--output=json");
    if arguments.windows(2).any(asks_for_data) || arguments.iter().any(is_short) {
        let text = misuse.to_string();
        let (message, usage) = text.split_once("\n\n").unwrap_or((&text, ""));
        let help = usage.split("\n\n").next().map(str::trim).filter(|help| !help.is_empty());
        streams::talk(failure::as_data(Exit::Usage, message, help));
    } else {
        drop(misuse.print());
    }
    Exit::Usage
}

fn manual() -> Result<(), Failure> {
    use clap::CommandFactory;
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(Arguments::command()).render(&mut page);
    rendered.map_err(|e| Failure::new(Exit::Failure, e))?;
    streams::data(String::from_utf8_lossy(&page).trim_end());
    Ok(())
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    use clap::CommandFactory;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "marketgate", &mut script);
    streams::data(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
