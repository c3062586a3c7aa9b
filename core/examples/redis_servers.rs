//! Starts the Redis servers that tests share, prints the variables that name them, and keeps them
//! until its standard input ends.
//!
//! ```sh
//! cargo run --package standfast-core --example redis_servers --features redis,testkit
//! ```

use std::io::Read as _;
use std::process::ExitCode;
use std::thread;

use standfast_core::testkit::redis::{cluster, sentinel, single};

fn main() -> ExitCode {
    let servers = [
        ("STANDFAST_TEST_REDIS", thread::spawn(single)),
        ("STANDFAST_TEST_REDIS_CLUSTER", thread::spawn(cluster)),
        ("STANDFAST_TEST_REDIS_SENTINEL", thread::spawn(sentinel)),
    ];
    for (variable, starting) in servers {
        // none: it has been said why
        let Ok(Some(server)) = starting.join() else { return ExitCode::FAILURE };
        println!("export {variable}='{}'", server.url().replace('\'', r"'\''"));
    }
    println!("# ready; the end of standard input ends them");
    // an error is an end, too
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}
