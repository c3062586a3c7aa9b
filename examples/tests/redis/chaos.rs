//! Everything is turned off in turn, while reports are asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread::{self, sleep};
use std::time::Duration;

use standfast_core::testkit::RedisServer;
use standfast_core::testkit::redis::{Persistence, RedisServerConfig};

use crate::ledger::Ledger;
use crate::support::Server;
use crate::support::process::Signal;
use crate::support::within;
use crate::{Fleet, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn whatever_is_turned_off_no_accepted_report_is_lost() {
    let mut config = RedisServerConfig::default();
    config.persistence = Persistence::Always;
    let Some(redis) = wait_for(RedisServer::start(config)) else { return };
    let fleet = Fleet::on(redis.url());
    let serve = || fleet.serve(&["--patience", "30"]);
    let servers = [(); 2].map(|()| RwLock::new(serve()));
    let work = || fleet.worker(&["--lease", "2", "--grace", "2"]);
    let workers = Mutex::new([(); 3].map(|()| work()));
    let (ledger, over) = (Ledger::default(), AtomicBool::new(false));
    let goes_on = || {
        let accepted = ledger.accepted();
        within(PATIENCE, "requests are accepted", || ledger.accepted() > accepted + 4);
    };
    thread::scope(|scope| {
        for server in &servers {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    ledger.post(&server.read().unwrap());
                    sleep(Duration::from_millis(100));
                }
            });
        }
        goes_on();
        for how in [Signal::KILL, Signal::TERM, Signal::KILL] {
            turn_off(&mut workers.lock().unwrap()[0], how, work);
            goes_on();
            // whoever asks it just now is not answered
            let pid = servers[1].read().unwrap().pid();
            crate::signal(pid, how);
            *servers[1].write().unwrap() = serve();
            goes_on();
            redis.kill();
            turn_off(&mut workers.lock().unwrap()[1], how, work);
            wait_for(redis.restart());
            goes_on();
            workers.lock().unwrap().rotate_left(1);
        }
        over.store(true, Ordering::Relaxed);
    });
    let servers = servers.map(|server| server.into_inner().unwrap());
    ledger.settle("everything turned off in turn", &[&servers[0], &servers[1]]);
}

fn turn_off(process: &mut Server, how: Signal, next: impl Fn() -> Server) {
    process.signal(how);
    process.ended_within(PATIENCE);
    *process = next();
}
