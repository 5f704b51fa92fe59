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
pub mod import;
pub mod init;
pub mod keyboard;
pub mod login;
pub mod logout;
pub mod opening;
pub mod place;
pub mod remote;
pub mod run;
pub mod service;
pub mod session;
pub mod signals;
pub mod sim;
pub mod status;
pub mod store;
pub mod streams;
pub mod table;
pub mod token;
pub mod wait;

pub use failure::{Exit, Failure};
pub use place::Place;

/// An authenticating reverse proxy for marketplace APIs: programs send plain requests, Marketgate puts a fresh token on each.
#[derive(Debug, Parser)]
#[command(name = "marketgate", version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    /// Configuration file [default: $MARKETGATE_CONFIG, ./proxy.toml, the user's, /etc/marketgate/proxy.toml]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How read commands print
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Text, value_name = "FORM")]
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
    Run,
    /// Try it without credentials: simulated marketplaces behind a proxy
    Demo(demo::DemoArguments),
    /// Only the simulated marketplaces, for tests of your own programs
    Sim(sim::SimArguments),
    /// Say everything that is wrong with the configuration
    Check(check::CheckArguments),
    /// Write a commented configuration for the marketplaces you choose
    Init(init::InitArguments),
    /// Connect a seller: open the marketplace's consent page and take the answer
    Login(login::LoginArguments),
    /// End an account's connection and have the marketplace revoke its grant where it can
    Logout(logout::LogoutArguments),
    /// List accounts; show, refresh, resume or remove one
    Accounts(accounts::AccountsArguments),
    /// Take in a refresh token, key pair or key, or a file of many
    Import(import::ImportArguments),
    /// Hand the grant of an account out into a file, and spend it here no more
    Export(export::ExportArguments),
    /// Print a valid access token, and nothing else
    Token(token::TokenArguments),
    /// Show how the accounts are
    Status(status::StatusArguments),
    /// Show what would be sent where for a request, without sending it
    Explain(explain::ExplainArguments),
    /// Make a key for a program that may call the proxy
    Caller(caller::CallerArguments),
    /// Wait until the running Marketgate is ready, or an account has a token
    Wait(wait::WaitArguments),
    /// Ask the running Marketgate whether it is well (for container health checks)
    Health(health::HealthArguments),
    /// Copy the store, bring a copy back, or seal it with another key
    Store(store::StoreArguments),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Parses the process's arguments, runs the command and gives its exit code.
pub fn main() -> Exit {
    core_dumps::refuse();
    let arguments = Arguments::parse();
    let place = Place { config: arguments.config, output: arguments.output };
    let outcome = match arguments.command {
        Command::Run => run::run(&place),
        Command::Demo(a) => demo::run(&a),
        Command::Sim(a) => sim::run(&a),
        Command::Check(a) => check::run(&place, &a),
        Command::Init(a) => init::run(&a),
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
        Command::Completions { shell } => completions(shell),
    };
    let exit = match outcome {
        Ok(()) => Exit::Ok,
        Err(failure) => failure.report(),
    };
    telemetry::flush();
    exit
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    use clap::CommandFactory;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "marketgate", &mut script);
    streams::data(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
