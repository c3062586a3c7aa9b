//! A bucket of the service that `STANDFAST_TEST_S3` names, and a proxy that counts what it is asked.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use standfast_blobstore::{Blobs, S3BlobStore, S3Config};
use standfast_core::Id128;
use standfast_core::testkit::service;

/// A place below a prefix of its own.
#[derive(Clone, Debug)]
pub struct Bucket {
    name: String,
    prefix: String,
    query: String,
}

impl Bucket {
    pub fn find() -> Option<Self> {
        let url = service("s3", "STANDFAST_TEST_S3")?;
        let (place, query) = url.split_once('?').unwrap_or((&url, ""));
        let place = place.strip_prefix("s3://").unwrap().trim_end_matches('/');
        let (name, prefix) = place.split_once('/').unwrap_or((place, "assets"));
        let prefix = format!("{prefix}/{}", Id128::random());
        Some(Self { name: name.to_owned(), prefix, query: query.to_owned() })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> String {
        format!("s3://{}/{}?{}", self.name, self.prefix, self.query)
    }

    /// The same place as seen through another endpoint.
    pub fn at(&self, endpoint: &str) -> String {
        self.url().replace(&self.endpoint(), endpoint)
    }

    pub fn endpoint(&self) -> String {
        let mut pairs = self.query.split('&');
        pairs.find_map(|pair| pair.strip_prefix("endpoint=")).expect("an endpoint").to_owned()
    }

    pub async fn store(&self) -> S3BlobStore {
        S3BlobStore::open(&self.url(), S3Config::default()).await.unwrap()
    }

    pub async fn blobs(&self) -> Blobs {
        Blobs::new(self.store().await)
    }
}

/// Passes everything on to a service, and counts requests by what they ask for.
#[derive(Clone, Debug)]
pub struct Counting {
    pub endpoint: String,
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Counting {
    pub fn before(endpoint: &str) -> Self {
        let service = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let counting = Self { endpoint, counts: Arc::default() };
        let counts = Arc::clone(&counting.counts);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, counts) = (client.unwrap(), Arc::clone(&counts));
                let server = TcpStream::connect(&service).unwrap();
                let (mut answers, mut back) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = std::io::copy(&mut answers, &mut back);
                    let _ = back.shutdown(std::net::Shutdown::Both);
                });
                thread::spawn(move || pass_on(client, server, &counts));
            }
        });
        counting
    }

    /// How many requests of each kind there were since the last time.
    pub fn take(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.counts.lock().unwrap())
    }
}

fn pass_on(client: TcpStream, mut server: TcpStream, counts: &Mutex<BTreeMap<String, usize>>) {
    let mut client = BufReader::new(client);
    loop {
        let (mut head, mut length, mut is_copy) = (String::new(), 0, false);
        loop {
            let before = head.len();
            // a client that goes away says nothing more
            if client.read_line(&mut head).unwrap_or(0) == 0 {
                let _ = server.shutdown(std::net::Shutdown::Write);
                return;
            }
            let line = head[before..].trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            is_copy |= line.starts_with("x-amz-copy-source:");
            if line.is_empty() {
                break;
            }
        }
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let what = match method {
            "PUT" if is_copy => "copy",
            "GET" if target.contains("list-type=") => "list",
            method => method,
        };
        *counts.lock().unwrap().entry(what.to_ascii_lowercase()).or_default() += 1;
        let mut body = vec![0; length];
        client.read_exact(&mut body).unwrap();
        server.write_all(head.as_bytes()).unwrap();
        server.write_all(&body).unwrap();
    }
}
