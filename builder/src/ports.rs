//! What EXPOSE takes: ports, ranges and protocols, as Docker reads them. Not its job: opening ports.

use crate::diagnostic::did_you_mean;

/// `80`, `80/udp`, `8000-8010`, `8080:80`: the container's ports as `80/tcp`, in order.
pub(crate) fn parse(text: &str) -> Result<Vec<String>, String> {
    let (ports, protocol) = match text.split_once('/') {
        Some((ports, protocol)) => (ports, protocol.to_lowercase()),
        None => (text, String::new()),
    };
    let protocol = match protocol.as_str() {
        "" => "tcp",
        "tcp" | "udp" | "sctp" => protocol.as_str(),
        other => {
            return Err(format!(
                "invalid proto: {other}{}",
                did_you_mean(other, ["tcp", "udp", "sctp"])
            ));
        }
    };
    if ports.is_empty() {
        return Err(format!("invalid port: {text:?}: no port specified"));
    }
    // Of `[host:]port` only the container's side matters here.
    let container = ports.rsplit_once(':').map_or(ports, |(_, port)| port);
    if container.is_empty() {
        return Err(format!("no port specified: {text}"));
    }
    let Some((first, last)) = range(container) else {
        return Err(format!(
            "invalid containerPort: {container}: a port is a number from 0 to 65535"
        ));
    };
    if last < first {
        return Err(format!(
            "invalid containerPort: {container}: the range ends before it begins"
        ));
    }
    Ok((first..=last).map(|p| format!("{p}/{protocol}")).collect())
}

fn range(text: &str) -> Option<(u16, u16)> {
    match text.split_once('-') {
        Some((first, last)) => Some((first.parse().ok()?, last.parse().ok()?)),
        None => {
            let port = text.parse().ok()?;
            Some((port, port))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges_become_the_configs_words() {
        assert_eq!(parse("80").unwrap(), ["80/tcp"]);
        assert_eq!(parse("80/TCP").unwrap(), ["80/tcp"]);
        assert_eq!(parse("53/udp").unwrap(), ["53/udp"]);
        assert_eq!(parse("8080:80").unwrap(), ["80/tcp"]);
        assert_eq!(parse("10-12").unwrap(), ["10/tcp", "11/tcp", "12/tcp"]);
    }

    #[test]
    fn what_is_no_port_is_named() {
        let range = "a port is a number from 0 to 65535";
        for wrong in ["70000", "http", "-1", "1-70000"] {
            assert_eq!(
                parse(wrong).unwrap_err(),
                format!("invalid containerPort: {wrong}: {range}")
            );
        }
        assert_eq!(
            parse("/tcp").unwrap_err(),
            "invalid port: \"/tcp\": no port specified"
        );
        assert_eq!(
            parse("12-10").unwrap_err(),
            "invalid containerPort: 12-10: the range ends before it begins"
        );
        assert_eq!(
            parse("80/tpc").unwrap_err(),
            "invalid proto: tpc (did you mean tcp?)"
        );
    }
}
