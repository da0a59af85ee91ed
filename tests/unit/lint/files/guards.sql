IF NOT EXISTS (SELECT * FROM sys.schemas WHERE name = N'sales') EXEC(N'CREATE SCHEMA [sales]');
IF OBJECT_ID('dbo.Basket', 'U') IS NULL
BEGIN
    CREATE TABLE dbo.Basket (Id int IDENTITY(1, 1) NOT NULL CONSTRAINT PK_Basket PRIMARY KEY CLUSTERED, Made datetime2 NOT NULL)
    IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE name = 'IX_Basket_Made')
        CREATE INDEX IX_Basket_Made ON dbo.Basket (Made DESC)
    ELSE
        DROP INDEX IX_Basket_Made ON dbo.Basket
END
ELSE IF COL_LENGTH('dbo.Basket', 'Owner') IS NULL
BEGIN
    BEGIN
        ALTER TABLE dbo.Basket ADD Owner int NULL
    END
END
ELSE
BEGIN
    PRINT 'nothing to do: ELSE BEGIN ... END'
    RETURN
END
ALTER TABLE dbo.Basket ADD Note nvarchar(100) NULL
IF (SELECT COUNT(*) FROM dbo.Basket) > 0 AND EXISTS (SELECT 1 FROM dbo.Owner) UPDATE dbo.Basket SET Note = N'' WHERE Note IS NULL
IF @@SERVERNAME = 'db1' AND CASE WHEN DB_NAME() = 'shop' THEN 1 ELSE 0 END = 1 BEGIN DROP TABLE dbo.Owner END
DROP TABLE IF EXISTS dbo.Left1, dbo.Left2;
GO
WHILE EXISTS (SELECT 1 FROM dbo.Queue)
BEGIN
    IF 1 = 1
        DELETE TOP (500) FROM dbo.Queue
    ELSE
        BREAK
END
DELETE FROM dbo.Queue
GO
