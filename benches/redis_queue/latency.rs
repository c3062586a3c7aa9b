use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use standfast_benches::{Bench, Table, current_thread, quantile, two_threads};
use standfast_queue::{Queue, ReceiveOptions, RedisQueue, Settlement};
use tokio::runtime::Runtime;

use crate::contender::{HOUR, SERVER, messages, server, settle};

/// Between two messages, so that everybody sleeps when the next one comes.
const PAUSE: Duration = Duration::from_millis(3);
const FLOOR: &str = "two blocking sockets";

/// From a send to a receiver that waits in another process, with nothing else going on: the sender
/// and the receiver have connections of their own.
pub(crate) fn latency(bench: &mut Bench) {
    let count = bench.count(300);
    for (name, runtime) in [("one thread", current_thread()), ("two threads", two_threads())] {
        let title = format!("latency: to a receiver that waits, idle, {name}");
        let lists = server(false);
        let mut sockets = Sockets::open(lists.port());
        let queues = server(false);
        let [sender, receiver] =
            [(); 2].map(|()| RedisQueue::from_url(&queues.url(), "bench").expect("it is a URL"));
        let mut receiver = Receiver::start(&runtime, receiver);
        let runtime = &runtime;
        let results = Table::new(title, &["p50 us", "p99 us"])
            .rows(FLOOR, || sockets.hand_over(count))
            .rows("queue", || runtime.block_on(receiver.hand_over(&sender, count)))
            .run(bench);
        for (column, most, what) in [(0, 1.5, "p50"), (1, 3.0, "p99")] {
            let times = results.times("queue", FLOOR, column);
            println!("  {what} of the queue to two blocking sockets: {times:.2} x");
            bench.target(&format!("{what} at most {most} x two sockets, {name}"), times <= most);
        }
        let p99 = results.median_of("queue", 1);
        bench.target(&format!("p99 at most 2 ms, {name}"), p99 <= 2000.0);
    }
}

/// The receiver's task, and when each message reached it.
struct Receiver {
    seen: tokio::sync::mpsc::UnboundedReceiver<Instant>,
}

impl Receiver {
    fn start(runtime: &Runtime, queue: RedisQueue) -> Self {
        let (tell, seen) = tokio::sync::mpsc::unbounded_channel();
        runtime.spawn(async move {
            let options = ReceiveOptions::new(10).wait(HOUR);
            loop {
                // ends with the server
                let Ok(batch) = queue.receive(&options).await else { return };
                if tell.send(Instant::now()).is_err() {
                    return;
                }
                let deliveries = batch.deliveries.into_iter();
                let acks: Vec<_> = deliveries.map(|one| (one.receipt, Settlement::Ack)).collect();
                settle(&queue, &acks).await;
            }
        });
        Self { seen }
    }

    async fn hand_over(&mut self, sender: &RedisQueue, count: usize) -> Vec<f64> {
        let mut took = Vec::with_capacity(count);
        for _ in 0..count {
            tokio::time::sleep(PAUSE).await;
            let made = messages(1);
            let sent = Instant::now();
            sender.send(&made).await.expect(SERVER);
            let seen = self.seen.recv().await.expect("the receiver is there");
            took.push((seen - sent).as_secs_f64() * 1e6);
        }
        vec![quantile(&mut took, 0.5), quantile(&mut took, 0.99)]
    }
}

/// One thread in BLPOP, and a socket that does LPUSH: no client library, no runtime.
struct Sockets {
    push: BufReader<TcpStream>,
    seen: mpsc::Receiver<Instant>,
}

impl Sockets {
    fn open(port: u16) -> Self {
        let open = move || {
            let stream = TcpStream::connect(("127.0.0.1", port)).expect(SERVER);
            stream.set_nodelay(true).expect("it is a socket");
            BufReader::new(stream)
        };
        let (tell, seen) = mpsc::channel();
        let mut pop = open();
        std::thread::spawn(move || {
            // ends with the server
            while let Some(2) = {
                let asked = pop.get_mut().write_all(b"*3\r\n$5\r\nBLPOP\r\n$1\r\nl\r\n$1\r\n0\r\n");
                asked.ok().and_then(|()| array(&mut pop))
            } {
                if tell.send(Instant::now()).is_err() {
                    return;
                }
            }
        });
        Self { push: open(), seen }
    }

    fn hand_over(&mut self, count: usize) -> Vec<f64> {
        let body = [b'x'; 250];
        let head = format!("*3\r\n$5\r\nLPUSH\r\n$1\r\nl\r\n${}\r\n", body.len());
        let command = [head.as_bytes(), &body, b"\r\n"].concat();
        let mut took = Vec::with_capacity(count);
        for _ in 0..count {
            std::thread::sleep(PAUSE);
            let sent = Instant::now();
            self.push.get_mut().write_all(&command).expect(SERVER);
            let mut answer = String::new();
            self.push.read_line(&mut answer).expect(SERVER);
            let seen = self.seen.recv().expect("the other thread is there");
            took.push((seen - sent).as_secs_f64() * 1e6);
        }
        vec![quantile(&mut took, 0.5), quantile(&mut took, 0.99)]
    }
}

/// Reads an array of strings; how many they were.
fn array(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let count = number(stream)?;
    for _ in 0..count {
        let length = number(stream)?;
        let mut text = vec![0; length + 2];
        stream.read_exact(&mut text).ok()?;
    }
    Some(count)
}

/// Reads a line such as `*2` or `$5`.
fn number(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    line.get(1..)?.trim().parse().ok()
}

/// What one process that waits asks of the server while nothing happens.
pub(crate) fn idle(bench: &mut Bench) {
    let seconds = if cfg!(debug_assertions) { 1 } else { 10 };
    let runtime = current_thread();
    let server = server(false);
    let queue = RedisQueue::from_url(&server.url(), "bench").expect("it is a URL");
    let commands = runtime.block_on(async {
        let waiting = tokio::spawn(async move {
            queue.receive(&ReceiveOptions::new(10).wait(HOUR)).await.expect(SERVER);
        });
        // it looks once before it waits
        tokio::time::sleep(Duration::from_millis(500)).await;
        let before = server.usage().commands;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        // the second question counts itself
        let commands = server.usage().commands - before - 1;
        waiting.abort();
        commands
    });
    println!("\nidle: one process waits for {seconds} s and makes {commands} commands");
    bench.target("idle: at most one command in 2 s", commands <= seconds.div_ceil(2));
}
