//! What the small programs share: a server that answers a line with a line, and a client of it.

use std::io;
use std::time::Duration;

use sim::net::{TcpListener, TcpStream};
use sim::spawn;
use sim::time::timeout;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// Answers one line per connection, on port 7000.
pub(crate) async fn serve<F, Fut>(answer: F) -> io::Result<()>
where
    F: Fn(String) -> Fut + Clone + 'static,
    Fut: Future<Output = String> + 'static,
{
    let listener = TcpListener::bind("0.0.0.0:7000").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let answer = answer.clone();
        spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let answer = answer(line.trim_end().to_string()).await;
            stream.write_all(format!("{answer}\n").as_bytes()).await
        });
    }
}

/// Sends a line to a node and waits for the answer.
pub(crate) async fn ask(node: &str, line: &str, patience: Duration) -> io::Result<String> {
    let exchange = async {
        let mut stream = BufReader::new(TcpStream::connect((node, 7000)).await?);
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        let mut answer = String::new();
        match stream.read_line(&mut answer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(answer.trim_end().to_string()),
        }
    };
    timeout(patience, exchange).await?
}

/// Asks until there is an answer.
pub(crate) async fn insist(node: &str, line: &str) -> String {
    loop {
        match ask(node, line, Duration::from_millis(200)).await {
            Ok(answer) => return answer,
            Err(_) => sim::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Replaces a file as a whole, as far as a process can: one that dies leaves the old one or the new one.
pub(crate) async fn save(path: &str, text: &str) -> io::Result<()> {
    sim::fs::write("new", text).await?;
    sim::fs::rename("new", path).await
}
