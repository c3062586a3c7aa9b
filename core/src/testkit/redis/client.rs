//! Enough of a Redis client for tests to look at a server: one connection per command.

use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long a command may take, connecting included.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    Nil,
    Int(i64),
    Text(String),
    Array(Vec<Self>),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => Ok(()),
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        f.write_str("\n")?;
                    }
                    item.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Sends one command to the server at `address` and waits for the answer. What the server or the
/// network objects is an error.
pub(super) async fn ask<S: AsRef<str> + Sync>(
    address: &str,
    login: &Login,
    command: &[S],
) -> Result<Answer, String> {
    ask_within(LIMIT, address, login, command).await
}

pub(super) async fn ask_within<S: AsRef<str> + Sync>(
    limit: Duration,
    address: &str,
    login: &Login,
    command: &[S],
) -> Result<Answer, String> {
    let asked = async {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let mut stream = BufReader::new(stream);
        if let Some(password) = &login.password {
            let user = login.user.as_deref().unwrap_or("default");
            exchange(&mut stream, &["AUTH", user, password]).await?;
        }
        exchange(&mut stream, command).await
    };
    match tokio::time::timeout(limit, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer from {address} within {limit:?}")),
    }
}

async fn exchange<S: AsRef<str> + Sync>(
    stream: &mut BufReader<TcpStream>,
    command: &[S],
) -> Result<Answer, String> {
    let mut request = format!("*{}\r\n", command.len());
    for word in command {
        let word = word.as_ref();
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    Box::pin(answer(stream)).await
}

async fn answer(stream: &mut BufReader<TcpStream>) -> Result<Answer, String> {
    let mut line = String::new();
    stream.read_line(&mut line).await.map_err(|error| error.to_string())?;
    let line = line.strip_suffix("\r\n").ok_or("the server closed the connection")?;
    let (kind, rest) = line.split_at_checked(1).ok_or("an empty line is no answer")?;
    let number = || rest.parse::<i64>().map_err(|_| format!("{line:?} has no number"));
    match kind {
        "+" => Ok(Answer::Text(rest.to_owned())),
        "-" => Err(rest.to_owned()),
        ":" => Ok(Answer::Int(number()?)),
        "$" => {
            let Ok(length) = usize::try_from(number()?) else { return Ok(Answer::Nil) };
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes).await.map_err(|error| error.to_string())?;
            bytes.truncate(length);
            Ok(Answer::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        "*" => {
            let Ok(length) = usize::try_from(number()?) else { return Ok(Answer::Nil) };
            let mut items = Vec::new();
            for _ in 0..length {
                items.push(Box::pin(answer(stream)).await?);
            }
            Ok(Answer::Array(items))
        }
        _ => Err(format!("{line:?} is no answer")),
    }
}
