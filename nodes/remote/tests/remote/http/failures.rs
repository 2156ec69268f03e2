//! Services that answer wrong, break off, or are not there.

use super::*;

#[tokio::test]
async fn what_the_service_answers_wrong_is_told_apart() {
    let error = failure(&service(|_| async { says(200, "text/html", "<html>") })).await;
    assert_eq!(error.code, Code::InvalidRemoteData);
    assert!(
        error.message.contains("content type 'text/html'"),
        "{error}"
    );

    let error = failure(&service(|_| async { says(200, "application/json", "{") })).await;
    assert_eq!(error.code, Code::InvalidRemoteData, "{error}");

    const LINE: &str =
        r#"{"error":{"code":"node_failed","message":"out of memory","fault":"gateway"}}"#;
    let error = failure(&service(|_| async {
        says(200, NDJSON, format!("\n{LINE}\n"))
    }))
    .await;
    assert_eq!(error.code, Code::RemoteExecution);
    assert_eq!(error.message, "worker says: out of memory");

    let error = failure(&service(|_| async {
        says(
            503,
            "application/problem+json",
            r#"{"code":"draining","detail":"bye","retryable":true}"#,
        )
    }))
    .await;
    assert_eq!((error.code, error.retryable), (Code::Draining, true));

    let error = failure(&service(|_| async {
        says(500, "text/plain", "Traceback: oops")
    }))
    .await;
    assert_eq!(error.code, Code::RemoteExecution);
    assert!(
        error.message.contains("Traceback: oops (HTTP status 500"),
        "{error}"
    );

    let error = failure(&service(|_| async {
        let endless =
            std::iter::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 20])));
        says(
            200,
            "application/json",
            Body::from_stream(tokio_stream::iter(endless)),
        )
    }))
    .await;
    assert_eq!(error.code, Code::InvalidRemoteData);
    assert!(error.message.contains("too large"), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_network_error_after_what_was_said() {
    const LINE: &str = "{\"frame\":{\"port\":\"out\",\"binary\":{\"data\":\"\"}}}\n";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let answering = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().expect("a caller");
        let mut asked = [0; 4_096];
        let _read = stream.read(&mut asked);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {NDJSON}\r\n");
        let chunk = format!("{:x}\r\n{LINE}\r\n", LINE.len());
        let text = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}");
        stream.write_all(text.as_bytes()).expect("written");
    });
    let mut hop = open(&config(format!("http://{address}"), HopMode::Stream))
        .await
        .live();
    hop.wait_for_credit().await;
    hop.send(Bytes::new());
    hop.frame().await;
    answering.join().expect("it answered");
    let error = hop.failure().await;
    assert_eq!(
        (error.code, error.retryable),
        (Code::Network, true),
        "{error}"
    );
}

#[tokio::test]
async fn a_service_that_dies_while_it_is_asked_is_a_network_error() {
    let mut web = service(|_| async { std::future::pending().await });
    let mut hop = open(&config(web.endpoint(), HopMode::Stream)).await;
    hop.wait_for_credit().await;
    hop.send(Bytes::new());
    assert!(hop.is_quiet().await);
    web.kill();
    let error = hop.failure().await;
    assert_eq!(
        (error.code, error.retryable),
        (Code::Network, true),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_there_shows_at_the_first_call() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let mut hop = open(&config(format!("http://{address}"), HopMode::Stream)).await;
    hop.wait_for_credit().await;
    hop.send(Bytes::new());
    let error = hop.failure().await;
    assert_eq!((error.code, error.retryable), (Code::Network, true));
    assert!(error.message.contains("nothing listens at"), "{error}");
}

#[tokio::test]
async fn a_place_that_takes_no_connection_in_time_is_a_timeout_of_connecting() {
    // TEST-NET-1 (RFC 5737): routed nowhere. Where it is refused at once, there is nothing to wait for.
    let mut config = config("http://192.0.2.1:9".into(), HopMode::Stream);
    config.timeouts.connect = Duration::from_millis(50);
    let mut hop = open(&config).await;
    hop.wait_for_credit().await;
    hop.send(Bytes::new());
    let error = hop.failure().await;
    let refused = error.code == Code::Network;
    assert!(refused || error.phase == Some(Phase::Connect), "{error}");
}
