"""Keys without a prefix: social networks and media. Each is found beside its service's name only."""

from ai_platform.protection.rules.shapes import service_key

RULES = (
    service_key(
        "twitch",
        "Twitch",
        keyword=r"twitch",
        value=r"[a-z0-9]{30}",
        example='twitch_token = "b810omn4u8bbxflkdjacr52x3e9fsl"',
    ),
    service_key(
        "discord",
        "Discord",
        keyword=r"discord",
        value=r"[a-f0-9]{64}|[0-9]{18,19}|[A-Za-z0-9=_-]{30,32}",
        example='discord_token = "QQ6fCLx2V5B6gdSSoFDLBuxGocu4wxRQ"',
    ),
    service_key(
        "facebook",
        "Facebook",
        keyword=r"facebook|\bfb_(?:app|client)",
        value=r"[a-f0-9]{32}",
        example='fb_app_token = "d2ea7074893d2c4edf897b7cc4a32a2e"',
    ),
    service_key(
        "instagram",
        "Instagram",
        keyword=r"instagram",
        value=r"[a-f0-9]{32}",
        example='instagram_token = "80f575ddaab1b9a3d8d610c2d4e66559"',
    ),
    service_key(
        "twitter",
        "X (Twitter)",
        keyword=r"twitter|tweepy",
        value=r"[0-9]{15,25}-[A-Za-z0-9]{20,40}|[a-zA-Z0-9]{50}|[a-zA-Z0-9]{45}|[a-zA-Z0-9]{25}",
        example='twitter_token = "2nk0L6byqXfNW1WRf9qAkcqMK"',
    ),
    service_key(
        "linkedin",
        "LinkedIn",
        keyword=r"linked_?-?in",
        value=r"[a-z0-9]{14}|[A-Za-z0-9]{16}",
        example='linkedin_token = "b6B7B8o8PtUrDN59"',
    ),
    service_key(
        "reddit",
        "Reddit",
        keyword=r"reddit",
        value=r"[A-Za-z0-9_-]{14}|[A-Za-z0-9_-]{27}|[A-Za-z0-9_-]{30}",
        example='reddit_token = "2VffU0LR5Ahku4Y3ZzEIfZk3l6t"',
    ),
    service_key(
        "spotify",
        "Spotify",
        keyword=r"spotify",
        value=r"[a-f0-9]{32}",
        example='spotify_token = "45091bc055f60fc9ebd8156dffcc8b92"',
    ),
    service_key(
        "strava",
        "Strava",
        keyword=r"strava",
        value=r"[a-f0-9]{40}",
        example='strava_token = "739e76b900691d70fb526fa8be6feec67d298c20"',
    ),
    service_key(
        "tumblr",
        "Tumblr",
        keyword=r"tumblr",
        value=r"[A-Za-z0-9]{50}",
        example='tumblr_token = "o5LkycjxpgfPt5Cdkba9aS6l8fhjgZlA2IiZQYzLo8t5fiCwRg"',
    ),
    service_key(
        "youtube-like-vimeo",
        "Vimeo",
        keyword=r"vimeo",
        value=r"[a-z0-9]{32}",
        example='vimeo_token = "avzoexoolvlgasq1fei71pl29hgr1tz8"',
    ),
    service_key(
        "line",
        "LINE",
        keyword=r"line[_-]?(?:channel|notify|bot)",
        value=r"[A-Za-z0-9+/=]{43,180}|[a-f0-9]{32}",
        example='linechannel_token = "RyogLsUKEpExbUWKXqf6s69sePmdhg0XSjx7EoMPNZThnWwtY"',
    ),
    service_key(
        "kakao",
        "Kakao",
        keyword=r"kakao",
        value=r"[a-f0-9]{32}",
        example='kakao_token = "ea870c199c437e524ff50da0a9c74f79"',
    ),
)
