"""Only the team may publish."""


def publish(app_user_id):
    """None if the member may publish, else the code and the reason why not."""
    if not app_user_id.startswith("team-"):
        return "not-in-the-team", f"{app_user_id} is not in the team. Ask the studio to be added."
    return None
