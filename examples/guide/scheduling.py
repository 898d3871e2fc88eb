"""The guide's block "Scheduling (Cron Jobs)": to the letter below the line, which gives it the app that it speaks of."""

import modal

app = modal.App("scheduling")

# ----------------------------------------------------------------------------------------------------
# Run every hour
@app.function(schedule=modal.Period(hours=1))
def hourly_task():
    print("Running hourly task")

# Run daily at specific time
@app.function(schedule=modal.Cron("0 9 * * *"))  # 9 AM UTC daily
def daily_report():
    print("Generating daily report")

# Run every 5 minutes
@app.function(schedule=modal.Period(minutes=5))
def frequent_check():
    print("Checking...")
