"""Keys without a prefix: social networks and media. Each is found beside its service's name only."""

from ai_platform.protection.rules.shapes import service_key

RULES = (
    service_key(
        "twitch",
        "Twitch",
        keyword=r"twitch",
        value=r"[a-z0-9]{30}",
        example='twitch_token = "8r6ardiq5m9139dnipywkbjzffxr37"',
    ),
    service_key(
        "discord",
        "Discord",
        keyword=r"discord",
        value=r"[a-f0-9]{64}|[0-9]{18,19}|[A-Za-z0-9=_-]{32}",
        example='discord_token = "BqjLUAEBlFPCVb3s9YizeomxXlvTJx13"',
    ),
    service_key(
        "facebook",
        "Facebook",
        keyword=r"facebook|\bfb_(?:app|client)",
        value=r"[a-f0-9]{32}",
        example='fb_client_token = "a9d2986c86cae5e70cec3a555a3ea0aa"',
    ),
    service_key(
        "instagram",
        "Instagram",
        keyword=r"instagram",
        value=r"[a-f0-9]{32}",
        example='instagram_token = "5e229bf4a833cbfad822d2ea7074893d"',
    ),
    service_key(
        "twitter",
        "X (Twitter)",
        keyword=r"twitter|tweepy",
        value=r"[0-9]{15,25}-[A-Za-z0-9]{20,40}|[a-zA-Z0-9]{50}|[a-zA-Z0-9]{45}|[a-zA-Z0-9]{25}",
        example='tweepy_token = "Kf93uLjgkC4FASc75AffuHb0XtqIaQ6rLjqWWR9kCm62l"',
    ),
    service_key(
        "linkedin",
        "LinkedIn",
        keyword=r"linked_?-?in",
        value=r"[a-z0-9]{14}|[A-Za-z0-9]{16}",
        example='linkedin_token = "WH3HBkADgwkO3D7k"',
    ),
    service_key(
        "reddit",
        "Reddit",
        keyword=r"reddit",
        value=r"[A-Za-z0-9_-]{14}|[A-Za-z0-9_-]{27}|[A-Za-z0-9_-]{30}",
        example='reddit_token = "yBS687GqcG8ZspO4NEypRHVJYnq"',
    ),
    service_key(
        "spotify",
        "Spotify",
        keyword=r"spotify",
        value=r"[a-f0-9]{32}",
        example='spotify_token = "655990fa62cc27fb2d47aa14b094994f"',
    ),
    service_key(
        "strava",
        "Strava",
        keyword=r"strava",
        value=r"[a-f0-9]{40}",
        example='strava_token = "2a66ce9645091bc055f60fc9ebd8156dffcc8b92"',
    ),
    service_key(
        "tumblr",
        "Tumblr",
        keyword=r"tumblr",
        value=r"[A-Za-z0-9]{50}",
        example='tumblr_token = "almTifJ7b0ZCe0MNhsZf3pmOHaML6ipCwik2W1RYLAd8omDIpn"',
    ),
    service_key(
        "youtube-like-vimeo",
        "Vimeo",
        keyword=r"vimeo",
        value=r"[a-z0-9]{32}",
        example='vimeo_token = "ykij9f9y1g9r42frml2965pc3100s579"',
    ),
    service_key(
        "line",
        "LINE",
        keyword=r"line[_-]?(?:channel|notify|bot)",
        value=r"[A-Za-z0-9+/=]{43,180}|[a-f0-9]{32}",
        example='linebot_token = "ae626f9b2a461c511f4fda327cce71f8"',
    ),
    service_key(
        "kakao",
        "Kakao",
        keyword=r"kakao",
        value=r"[a-f0-9]{32}",
        example='kakao_token = "dd2736c2f4fcc745f5991853c0106356"',
    ),
)
