//! `aws-stand-in PORT [STATE]`: Amazon SQS on a loopback port, in memory, or with its state in a
//! file so that it can be killed and started again. `aws-stand-in s3 PORT BUCKET`: Amazon S3, in
//! memory. Prints where it listens.

mod s3;
mod sqs;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::TcpListener;

const ACCOUNT: &str = "000000000000";
const REGION: &str = "us-east-1";
const USAGE: &str = "usage: aws-stand-in PORT [STATE] | s3 PORT BUCKET";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let first = args.next().ok_or(USAGE)?;
    let is_s3 = first == "s3";
    let port = if is_s3 { args.next().ok_or(USAGE)? } else { first };
    let listener = TcpListener::bind(("127.0.0.1", port.parse::<u16>()?)).await?;
    let endpoint = format!("http://{}", listener.local_addr()?);

    let app = if is_s3 {
        s3::app(&endpoint, args.next().ok_or(USAGE)?)?
    } else {
        sqs::app(&endpoint, args.next().map(PathBuf::from))?
    };

    println!("{endpoint}");
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
