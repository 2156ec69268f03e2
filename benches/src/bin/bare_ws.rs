//! A WebSocket echo of `tokio-tungstenite` and nothing else: the reference for the gateway's.

use futures_util::{SinkExt, StreamExt};
use tidegate_benches::net;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = net::listen().await?;
    let mut connections = JoinSet::new();
    loop {
        let stream = net::accept(&listener).await?;
        connections.spawn(async move {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
                return;
            };
            while let Some(Ok(message)) = socket.next().await {
                let echoed = matches!(message, Message::Binary(_) | Message::Text(_));
                if echoed && socket.send(message).await.is_err() {
                    return;
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
