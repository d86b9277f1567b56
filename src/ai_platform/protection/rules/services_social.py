"""Keys without a prefix: social networks and media. Each is found beside its service's name only."""

from ai_platform.protection.rules.shapes import service_key

RULES = (
    service_key(
        "twitch",
        "Twitch",
        keyword=r"twitch",
        value=r"[a-z0-9]{30}",
        example='twitch_token = "mtfvepr7qwl3anw87uo5azjo939bho"',
    ),
    service_key(
        "discord",
        "Discord",
        keyword=r"discord",
        value=r"[a-f0-9]{64}|[0-9]{18,19}|[A-Za-z0-9=_-]{32}",
        example='discord_token = "699553999730183552"',
    ),
    service_key(
        "facebook",
        "Facebook",
        keyword=r"facebook|\bfb_(?:app|client)",
        value=r"[a-f0-9]{32}",
        example='fb_app_token = "60fc9ebd8156dffcc8b92739e76b9006"',
    ),
    service_key(
        "instagram",
        "Instagram",
        keyword=r"instagram",
        value=r"[a-f0-9]{32}",
        example='instagram_token = "d70fb526fa8be6feec67d298c20f891b"',
    ),
    service_key(
        "twitter",
        "X (Twitter)",
        keyword=r"twitter|tweepy",
        value=r"[0-9]{15,25}-[A-Za-z0-9]{20,40}|[a-zA-Z0-9]{50}|[a-zA-Z0-9]{45}|[a-zA-Z0-9]{25}",
        example='tweepy_token = "KBA9As6L8FHJGzLa2iIzqyZlO"',
    ),
    service_key(
        "linkedin",
        "LinkedIn",
        keyword=r"linked_?-?in",
        value=r"[a-z0-9]{14}|[A-Za-z0-9]{16}",
        example='linkedin_token = "r6avzoexoolvlg"',
    ),
    service_key(
        "reddit",
        "Reddit",
        keyword=r"reddit",
        value=r"[A-Za-z0-9_-]{14}|[A-Za-z0-9_-]{27}|[A-Za-z0-9_-]{30}",
        example='reddit_token = "uSQybFEIkxhub4"',
    ),
    service_key(
        "spotify",
        "Spotify",
        keyword=r"spotify",
        value=r"[a-f0-9]{32}",
        example='spotify_token = "1f8dd2736c2f4fcc745f5991853c0106"',
    ),
    service_key(
        "strava",
        "Strava",
        keyword=r"strava",
        value=r"[a-f0-9]{40}",
        example='strava_token = "3561ea870c199c437e524ff50da0a9c74f7971ce"',
    ),
    service_key(
        "tumblr",
        "Tumblr",
        keyword=r"tumblr",
        value=r"[A-Za-z0-9]{50}",
        example='tumblr_token = "RCegnbUnEolPGGsiXl4p5DnhKgxhTaISAKrDNyKCVNHOxMepXG"',
    ),
    service_key(
        "youtube-like-vimeo",
        "Vimeo",
        keyword=r"vimeo",
        value=r"[a-z0-9]{32}",
        example='vimeo_token = "jjtp10vk2s96a9w1mibtfqjhqz872vsb"',
    ),
    service_key(
        "line",
        "LINE",
        keyword=r"line[_-]?(?:channel|notify|bot)",
        value=r"[A-Za-z0-9+/=]{43,180}|[a-f0-9]{32}",
        example='linechannel_token = "fef942fdb51738e336f3d58ab2b618e8"',
    ),
    service_key(
        "kakao",
        "Kakao",
        keyword=r"kakao",
        value=r"[a-f0-9]{32}",
        example='kakao_token = "fe915ce1d5f86eda6e223180c6f26165"',
    ),
)
